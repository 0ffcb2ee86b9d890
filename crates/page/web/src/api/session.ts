/**
 * This browser's session. The token in the URL's fragment buys a cookie, which scripts can't read, and a key, which
 * only this origin's scripts can read. Each call needs both.
 */
import { store } from '../state/store';

const KEY = 'podsync-key';

/** `unknown` until the token was exchanged; `none` if there is no session. */
export const session = store<'unknown' | 'open' | 'none'>('unknown');

export function keyOfSession(): string {
  return localStorage.getItem(KEY) ?? 'none';
}

/** Called if the daemon doesn't know the session (any more). */
export function ended(): void {
  session.set('none');
}

export async function begin(): Promise<void> {
  if (!(await spendToken())) session.set(localStorage.getItem(KEY) ? 'open' : 'none');
  // The URL of a new token may be opened in a tab that shows the page already.
  addEventListener('hashchange', () => void spendToken());
}

export function watchOtherTabs(): void {
  // Another tab of this page was opened with a new token: its session is ours too.
  addEventListener('storage', (event) => {
    if (event.key === KEY && event.newValue) session.set('open');
  });
}

async function spendToken(): Promise<boolean> {
  const token = /^#token=([0-9a-f]{64})$/.exec(location.hash)?.[1];
  if (!token) return false;
  // The token must not stay in the history or in a bookmark.
  history.replaceState(null, '', '/');
  await spend(token);
  return true;
}

async function spend(token: string): Promise<void> {
  try {
    const response = await fetch('/session', {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ token }),
    });
    if (!response.ok) throw new Error(String(response.status));
    const { key } = (await response.json()) as { key: string };
    localStorage.setItem(KEY, key);
    session.set('open');
  } catch {
    // The token was used before, perhaps by this browser. Then its session still works.
    session.set(localStorage.getItem(KEY) ? 'open' : 'none');
  }
}
