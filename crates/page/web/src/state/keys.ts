/** Keys for the whole page. Single-letter keys can be turned off for users of speech input. */
import { store } from './store';

export const lettersOn = store(localStorage.getItem('podsync-letters') !== 'off');
lettersOn.watch((on) => localStorage.setItem('podsync-letters', on ? 'on' : 'off'));

type Handlers = Record<string, () => void>;
const stack: Handlers[] = [];

/** Adds keys until the returned function is called; the newest ones win. */
export function bind(handlers: Handlers): () => void {
  stack.push(handlers);
  return () => {
    const index = stack.indexOf(handlers);
    if (index >= 0) stack.splice(index, 1);
  };
}

export function watchKeys(): () => void {
  const seen = (event: KeyboardEvent) => {
    if (event.defaultPrevented || event.altKey || event.ctrlKey || event.metaKey) return;
    if (!lettersOn.get() || document.querySelector('dialog[open]')) return;
    const target = event.target as HTMLElement;
    if (target.closest('input, select, textarea, [contenteditable]')) return;
    const handler = stack.findLast((handlers) => event.key in handlers)?.[event.key];
    if (!handler) return;
    event.preventDefault();
    handler();
  };
  addEventListener('keydown', seen);
  return () => removeEventListener('keydown', seen);
}
