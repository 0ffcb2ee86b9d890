/** Answers of the daemon as components need them: asked for once, again when something happened, kept meanwhile. */
import { useEffect, useState } from 'preact/hooks';
import { type Answer, call, CallError, gone, type Path, type Request } from '../api/call';
import { store, useStore } from './store';

/** Grows with each event that may have changed an answer. */
export const age = store(0);

export function changed(): void {
  age.update((age) => age + 1);
}

export interface Asked<T> {
  data: T | null;
  error: CallError | null;
  /** Nothing to show yet. */
  first: boolean;
  again: () => void;
}

/** Kept so that going back to a view shows it at once. */
const kept = new Map<string, unknown>();
const MOST_KEPT = 40;

function keep(key: string, value: unknown): void {
  kept.delete(key);
  kept.set(key, value);
  if (kept.size > MOST_KEPT) kept.delete(kept.keys().next().value as string);
}

export function forgetAnswers(): void {
  kept.clear();
}

/** `null` as body: don't ask. With `live` it is asked again whenever something happened. */
export function useAnswer<P extends Path>(
  path: P,
  body: Request<P> | null,
  { team = '-', live = true }: { team?: string; live?: boolean } = {},
): Asked<Answer<P>> {
  const key = JSON.stringify([path, team, body]);
  const now = useStore(age);
  const [turn, setTurn] = useState(0);
  const [state, setState] = useState<{ key: string; data: Answer<P> | null; error: CallError | null }>({
    key,
    data: (kept.get(key) as Answer<P>) ?? null,
    error: null,
  });
  useEffect(() => {
    if (body === null) return;
    const stop = new AbortController();
    if (state.key !== key) setState({ key, data: (kept.get(key) as Answer<P>) ?? null, error: null });
    call(path, body, { team, signal: stop.signal })
      .then((data) => {
        keep(key, data);
        setState({ key, data, error: null });
      })
      .catch((error: unknown) => {
        if (stop.signal.aborted) return;
        const told = error instanceof CallError ? error : gone();
        // What was seen stays in sight while the daemon is away.
        setState((old) => ({ key, data: old.key === key && told.told.code === 'no_daemon' ? old.data : null, error: told }));
      });
    return () => stop.abort();
  }, [key, live ? now : 0, turn]);
  const current = state.key === key ? state : { data: (kept.get(key) as Answer<P>) ?? null, error: null };
  return {
    data: current.data,
    error: current.error,
    first: body !== null && current.data === null && current.error === null,
    again: () => setTurn((turn) => turn + 1),
  };
}
