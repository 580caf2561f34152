import type Docker from "dockerode";

/** A network of somebody else's, who has this subnet. The caller removes it. */
export function foreignNetwork(docker: Docker, subnet: string, name = `other-${process.pid}`): Promise<Docker.Network> {
  return docker.createNetwork({ Name: name, IPAM: { Driver: "default", Config: [{ Subnet: subnet }] } });
}
