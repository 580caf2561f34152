// All resource types by the name in their type token. Each is loaded on first use: a preview of a stack at rest needs
// no database driver and no Engine client.
export const TYPES = {
  AuthorityRotation: async () => (await import("./resources/authority-rotation.ts")).authorityRotation,
  ClientFiles: async () => (await import("./resources/client-files.ts")).clientFiles,
  ContainerReady: async () => (await import("./resources/container-ready.ts")).containerReady,
  DataOwner: async () => (await import("./resources/data-owner.ts")).dataOwner,
  DatabaseBaseline: async () => (await import("./resources/database-baseline.ts")).databaseBaseline,
  Extensions: async () => (await import("./resources/extensions.ts")).extensions,
  FurtherRole: async () => (await import("./resources/further-role.ts")).furtherRole,
  Image: async () => (await import("./resources/image.ts")).image,
  LoginRoles: async () => (await import("./resources/login-roles.ts")).loginRoles,
  Migrations: async () => (await import("./resources/migrations.ts")).migrations,
  Network: async () => (await import("./resources/network.ts")).network,
  Password: async () => (await import("./resources/password.ts")).password,
  Renewal: async () => (await import("./resources/renewal.ts")).renewal,
  ScramSecret: async () => (await import("./resources/scram-secret.ts")).scramSecretResource,
  StateIdentity: async () => (await import("./resources/state-identity.ts")).stateIdentity,
  SuperuserPassword: async () => (await import("./resources/superuser-password.ts")).superuserPassword,
  VolumeFiles: async () => (await import("./resources/volume-files.ts")).volumeFiles,
};
