// Hooks that are made elsewhere, by the types of the package.
import {
  type CallbackContext,
  type ForwardedHeaders,
  makeDurableObject,
  type MakeDurableObjectClass,
  type MakeDurableObjectClassOptions,
} from '@livestore/sync-cf/cf-worker'

const log = (what: string, { storeId, payload, headers }: CallbackContext): void =>
  console.log(what, storeId, JSON.stringify(payload), headers?.size)

const tokenOf = (headers: ForwardedHeaders | undefined): string | undefined => {
  for (const [name, value] of headers ?? []) if (name === 'authorization') return value.slice('Bearer '.length)
  return undefined
}

const onPush: MakeDurableObjectClassOptions['onPush'] = async (message, context) => {
  log(`push of ${message.batch.length}`, context)
  if (tokenOf(context.headers) === undefined) throw new Error('no token')
}

const onPull: NonNullable<MakeDurableObjectClassOptions['onPull']> = async (_message, context) => log('pull', context)

const make: MakeDurableObjectClass = makeDurableObject

export class SyncBackendDO extends make({ onPush, onPull }) {}
