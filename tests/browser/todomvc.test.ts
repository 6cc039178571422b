import { todomvc, todomvc03 } from './apps.ts'
import {
  backendRestarts,
  bothReleases,
  offlineAndBack,
  refusedChange,
  reloadKeeps,
  seeEachOther,
  twoTabs,
  withKeysAlone,
  wrongToken,
} from './scenarios.ts'

seeEachOther(todomvc)
withKeysAlone(todomvc)
offlineAndBack(todomvc)
reloadKeeps(todomvc)
backendRestarts(todomvc)
wrongToken(todomvc)
refusedChange(todomvc)
twoTabs(todomvc)
bothReleases(todomvc, todomvc03)
