/** The emulator that actions use, while this tab is open. Its token is kept in memory only. */
import { store } from './store';

export const emulator = store<{ endpoint: string; token: string }>({
  endpoint: 'http://localhost:4566',
  token: '',
});
