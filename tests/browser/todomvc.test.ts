import { todomvc, todomvc03 } from './apps.ts'
import {
  backendRestarts,
  bothReleases,
  emptiedOnServer,
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
emptiedOnServer(todomvc)
twoTabs(todomvc, 'by itself')
bothReleases(todomvc, todomvc03)
