/** Bindings that no runtime gives: the object's class is one around ours, that passes them on with its `env`. */
import assert from 'node:assert/strict'

/**
 * Changes a Worker's source, so that its objects have these bindings as well: members of an object, in which `env` is what the
 * runtime gives. `first` runs when an object is made.
 */
export const withBindings =
  (bindings: string, first = '') =>
  (source: string): string => {
    const exported = /export\s*\{([\w$]+) as SyncBackendDO,/
    assert.match(source, exported, 'the bundle exports a class')
    return source.replace(
      exported,
      (_, object: string) => `
      class Bound extends ${object} {
        constructor(ctx, env) {
          ${first};
          super(ctx, { ...env, ${bindings} })
        }
      }
      export { Bound as SyncBackendDO,`,
    )
  }
