// A binding of another name, and a token that is verified.
import { makeDurableObject, makeWorker, type MakeWorkerOptions } from '@livestore/sync-cf/cf-worker'

declare const verify: (token: string) => Promise<{ sub: string }>

export class TaskServer extends makeDurableObject({
  onPush: async (message) => console.log(message.batch.map((event) => event.name)),
  onPushRes: async (message) => console.log(message),
  onPull: async () => {},
  onPullRes: async (message) => console.log(message),
}) {}

const options: MakeWorkerOptions = {
  validatePayload: async (payload: any) => {
    const { authToken } = payload
    if (!authToken) throw new Error('no token')
    await verify(authToken)
  },
  enableCORS: true,
  durableObject: { name: 'TASK_SERVER' },
}

export default makeWorker(options)
