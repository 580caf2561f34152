import { createRequire, Module } from "node:module";

/**
 * Puts a stand-in for a CommonJS module into Node's cache, so that whoever requires the module does not load it yet. It
 * is loaded when something calls it or asks for one of its exports. A module that is loaded already stays.
 *
 * @param file path of the module, as `require.resolve` gives it
 */
export function deferModule(file: string): void {
  const require = createRequire(file);
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
