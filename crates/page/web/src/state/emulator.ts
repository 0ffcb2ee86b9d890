/** The emulator that acts are about, as long as this tab is open. Its token is kept in memory alone. */
import { store } from './store';

export const emulator = store<{ endpoint: string; token: string }>({
  endpoint: 'http://localhost:4566',
  token: '',
});
