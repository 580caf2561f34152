import { expect, test } from "vitest";
import { volumeFiles as volumeFilesType } from "../../infra/provider/resources/volume-files.ts";
import { called, recorder } from "../helpers/provider.ts";

const quiet = recorder();
const volumeFiles = called(volumeFilesType);
const inputs = {
  volume: "v",
  image: "i:1",
  uid: 999,
  files: { "postgresql.conf": { content: "a", mode: 0o600 } },
  service: "postgres",
  // No container has this name, and no id begins with it.
  container: "aiwdb-nobody-files",
  restartKey: "k",
  host: "127.0.0.1",
  port: 1,
};

test("files in a volume show a change of contents, and of the image whose server has to take them", async () => {
  expect(await volumeFiles.diff!(inputs, { ...inputs }, quiet)).toEqual({ changed: [], replaces: [] });
  expect(await volumeFiles.diff!(inputs, { ...inputs, image: "i:2" }, quiet)).toEqual({
    changed: ["image"],
    replaces: [],
  });
  const changed = { ...inputs, files: { "postgresql.conf": { content: "b", mode: 0o600 } } };
  expect(await volumeFiles.diff!(inputs, changed, quiet)).toEqual({ changed: ["files"], replaces: [] });
  expect(await volumeFiles.diff!(inputs, { ...inputs, volume: "w" }, quiet)).toEqual({
    changed: ["volume"],
    replaces: ["volume"],
  });
});
