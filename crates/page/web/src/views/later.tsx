/** The code of the other views and of the dialogs is a file of its own, so that the first view doesn't wait for it. */
import type { ComponentChildren } from 'preact';
import { useEffect } from 'preact/hooks';
import { gone } from '../api/call';
import { store, useStore } from '../state/store';
import { Loading, Trouble } from '../ui/parts';

type Rest = typeof import('./rest');

const rest = store<Rest | 'failed' | null>(null);

export function load(): void {
  if (rest.get() === 'failed') rest.set(null);
  import('./rest').then(rest.set, () => rest.set('failed'));
}

/** What `children` draw with that code, once it is there. */
export function Later({ children }: { children: (rest: Rest) => ComponentChildren }) {
  const here = useStore(rest);
  useEffect(() => {
    if (!rest.get()) load();
  }, []);
  if (here === 'failed') return <Trouble error={gone()} again={load} />;
  return here ? <>{children(here)}</> : <Loading what="the view" />;
}
