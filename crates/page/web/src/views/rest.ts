/** All that the first view doesn't need: see `later.tsx`. */
export { SaveDialog } from '../acts/save';
export { Activity } from './activity';
export { Begin } from './begin';
export { Help } from './help';
export { Machine } from './machine';
export { PodView } from './pod';
export { Questions } from './questions';
export { Storage } from './storage';
export { Team } from './team';
