import { createRequire, Module } from "node:module";
import { hasCode } from "./errors.ts";

/**
 * Puts a stand-in for a CommonJS module into Node's cache, so that whoever requires the module does not load it yet. It
 * is loaded when something calls it or asks for one of its exports. A module that is loaded already stays.
 *
 * A module that is not found is left alone: another version of its package may have no such file.
 *
 * @param from path of a file whose package uses the module
 * @param name of the module, as that file would require it
 */
export function deferModule(from: string, name: string): void {
  const require = createRequire(from);
  let file: string;
  try {
    file = require.resolve(name);
  } catch (error) {
    if (hasCode(error, "MODULE_NOT_FOUND", "ERR_PACKAGE_PATH_NOT_EXPORTED")) return;
    throw error;
  }
  if (require.cache[file] !== undefined) return;
  const standIn = new Module(file);
  let loaded: unknown;
  const real = () => {
    if (loaded === undefined) {
      Reflect.deleteProperty(require.cache, file);
      loaded = require(file);
    }
    return loaded;
  };
  // A function, because a module may export one.
  standIn.exports = new Proxy(() => {}, {
    get(_target, key) {
      if (key === "__esModule") return true; // asked of every module where it is imported
      const exports = real() as Readonly<Record<PropertyKey, unknown>>;
      return key === "default" && exports["__esModule"] !== true ? exports : exports[key];
    },
    apply: (_target, self, args) => Reflect.apply(real() as (...args: unknown[]) => unknown, self, args) as unknown,
  });
  standIn.loaded = true;
  require.cache[file] = standIn;
}
