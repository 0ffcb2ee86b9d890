import { useEffect, useRef } from 'preact/hooks';
import { bind } from './keys';

/** Keys of a view, as long as it is shown. */
export function useKeys(handlers: Record<string, () => void>): void {
  const newest = useRef(handlers);
  newest.current = handlers;
  useEffect(() => {
    const bound = Object.keys(handlers).map((key) => [key, () => newest.current[key]?.()] as const);
    return bind(Object.fromEntries(bound));
  }, []);
}
