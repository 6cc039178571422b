import { todomvc } from './apps.ts'
import { onStage } from './stage.ts'

onStage(
  todomvc,
  'what one profile writes, the other shows within two seconds, and the other way round',
  async (stage) => {
    const [a, b] = await Promise.all([(await stage.profile()).open(), (await stage.profile()).open()])
    await Promise.all([a.says('in-sync'), b.says('in-sync')])
    await a.add('from a')
    await b.shows(['from a'], 2_000)
    await b.add('from b')
    await a.shows(['from a', 'from b'], 2_000)
    await b.toggle('from a')
    await a.shows(['✓ from a', 'from b'], 2_000)
    await Promise.all([a.says('in-sync'), b.says('in-sync')])
  },
)
