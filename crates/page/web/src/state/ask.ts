/** A cache of the daemon's answers for components. An event that may change an answer makes it be asked for again. */
import { useLayoutEffect, useState } from 'preact/hooks';
import { type Answer, call, CallError, gone, type Path, type Request } from '../api/call';
import { store, useStore } from './store';

/** A counter that grows with each event that may have changed an answer. */
export const age = store(0);

export function changed(): void {
  age.update((age) => age + 1);
}

export interface Asked<T> {
  data: T | null;
  error: CallError | null;
  /** Whether there is no answer to show yet. */
  first: boolean;
  again: () => void;
}

/** Old answers, so that going back to a view shows it at once. */
const kept = new Map<string, unknown>();
const MOST_KEPT = 40;

function keep(key: string, value: unknown): void {
  kept.delete(key);
  kept.set(key, value);
  if (kept.size > MOST_KEPT) kept.delete(kept.keys().next().value as string);
}

const keyOf = (path: Path, team: string, body: unknown) => JSON.stringify([path, team, body]);

interface Early {
  asked: Promise<unknown>;
  /** Set once it is there. */
  answer?: unknown;
}

/** Answers that were requested before the view that needs them was shown, by key. */
const early = new Map<string, Early>();

/** Requests an answer ahead of the view that needs it. Resolves when it is there, or isn't to be had. */
export async function askEarly<P extends Path>(path: P, body: Request<P>, team = '-'): Promise<void> {
  const one: Early = { asked: call(path, body, { team }) };
  early.set(keyOf(path, team, body), one);
  try {
    one.answer = await one.asked;
  } catch {
    // The view asks again and shows the error.
  }
}

/** Renames early answers about the home's only team, now that its name is known. */
export function onlyTeamIs(team: string): void {
  for (const [key, one] of [...early]) {
    const [path, about, body] = JSON.parse(key) as [Path, string, unknown];
    if (about !== '-' || !path.includes('{team}')) continue;
    early.delete(key);
    early.set(keyOf(path, team, body), one);
  }
}

/** The answer to show until the daemon gives a newer one. */
function known<T>(key: string): T | null {
  return ((early.get(key)?.answer ?? kept.get(key)) as T | undefined) ?? null;
}

/** With `null` as body it doesn't ask. With `live` it asks again after each event. */
export function useAnswer<P extends Path>(
  path: P,
  body: Request<P> | null,
  { team = '-', live = true }: { team?: string; live?: boolean } = {},
): Asked<Answer<P>> {
  const key = keyOf(path, team, body);
  const now = useStore(age);
  const [turn, setTurn] = useState(0);
  const [state, setState] = useState<{ key: string; data: Answer<P> | null; error: CallError | null }>({
    key,
    data: known(key),
    error: null,
  });
  // Not `useEffect`, which waits until the view is painted without the answer.
  useLayoutEffect(() => {
    if (body === null) return;
    if (state.key !== key) setState({ key, data: known(key), error: null });
    const one = early.get(key);
    early.delete(key);
    if (one?.answer !== undefined) {
      keep(key, one.answer);
      return;
    }
    const stop = new AbortController();
    ((one?.asked as Promise<Answer<P>> | undefined) ?? call(path, body, { team, signal: stop.signal }))
      .then((data) => {
        if (stop.signal.aborted) return;
        keep(key, data);
        setState({ key, data, error: null });
      })
      .catch((error: unknown) => {
        if (stop.signal.aborted) return;
        const told = error instanceof CallError ? error : gone();
        // The last answer stays visible while the daemon is unreachable.
        setState((old) => ({ key, data: old.key === key && told.told.code === 'no_daemon' ? old.data : null, error: told }));
      });
    return () => stop.abort();
  }, [key, live ? now : 0, turn]);
  const current = state.key === key ? state : { data: known<Answer<P>>(key), error: null };
  return {
    data: current.data,
    error: current.error,
    first: body !== null && current.data === null && current.error === null,
    again: () => setTurn((turn) => turn + 1),
  };
}
