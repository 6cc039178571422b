import { todomvc03 } from './apps.ts'
import {
  backendRestarts,
  offlineAndBack,
  refusedChange,
  reloadKeeps,
  seeEachOther,
  twoTabs,
  wrongToken,
} from './scenarios.ts'

seeEachOther(todomvc03)
offlineAndBack(todomvc03)
reloadKeeps(todomvc03)
backendRestarts(todomvc03)
wrongToken(todomvc03)
refusedChange(todomvc03)
// In this release the tab that is left takes over most of the time, and hangs at others, whatever the sync backend.
twoTabs(todomvc03, 'once it is loaded again')
