import { todomvc } from './apps.ts'
import { backendRestarts, offlineAndBack, reloadKeeps, seeEachOther, twoTabs, wrongToken } from './scenarios.ts'

for (const scenario of [seeEachOther, offlineAndBack, reloadKeeps, backendRestarts, wrongToken, twoTabs])
  scenario(todomvc)
