/** A list of any length. Only the visible rows are in the DOM. All rows have the same height. */
import type { ComponentChildren } from 'preact';
import { useEffect, useLayoutEffect, useRef, useState } from 'preact/hooks';
import { afterFirstView } from '../state/first';

interface Props<T> {
  items: readonly T[];
  height: number;
  label: string;
  keyOf: (item: T) => string;
  render: (item: T, index: number) => ComponentChildren;
  /** The index of the row that the arrow keys move from. */
  active: number;
  onActive: (index: number) => void;
  /** Called for Enter or a click. */
  onOpen?: (index: number) => void;
  class?: string;
}

/** Extra rows at both edges, so that a quick scroll shows no gaps. They are drawn after those in sight. */
const OVERSCAN = 8;

export function VirtualList<T>(props: Props<T>) {
  const { items, height, label, keyOf, render, active, onActive, onOpen } = props;
  const box = useRef<HTMLDivElement>(null);
  const [view, setView] = useState({ top: 0, height: innerHeight });
  const [overscan, setOverscan] = useState(0);
  const name = useRef(`list-${Math.random().toString(36).slice(2, 8)}`).current;

  useLayoutEffect(() => {
    const element = box.current;
    if (!element) return;
    const look = () => {
      const now = { top: element.scrollTop, height: element.clientHeight };
      // A lower list shows fewer of the rows that are drawn.
      setView((drawn) => (now.top === drawn.top && now.height <= drawn.height ? drawn : now));
    };
    // It also looks once at the beginning, when the page has been laid out anyway.
    const watcher = new ResizeObserver(look);
    watcher.observe(element);
    element.addEventListener('scroll', look, { passive: true });
    return () => {
      watcher.disconnect();
      element.removeEventListener('scroll', look);
    };
  }, []);

  useEffect(() => afterFirstView(() => setOverscan(OVERSCAN)), []);

  // Scrolls just far enough to show the active row.
  useEffect(() => {
    const element = box.current;
    if (!element || active < 0) return;
    const [top, bottom] = [active * height, (active + 1) * height];
    if (top < element.scrollTop) element.scrollTop = top;
    else if (bottom > element.scrollTop + element.clientHeight) element.scrollTop = bottom - element.clientHeight;
  }, [active, height, items.length > 0]);

  const onKeyDown = (event: KeyboardEvent) => {
    if (event.altKey || event.ctrlKey || event.metaKey) return;
    const page = Math.max(1, Math.floor((box.current?.clientHeight ?? 0) / height) - 1);
    const to = {
      ArrowDown: active + 1,
      j: active + 1,
      ArrowUp: active - 1,
      k: active - 1,
      PageDown: active + page,
      PageUp: active - page,
      Home: 0,
      End: items.length - 1,
    }[event.key];
    if (to !== undefined) {
      event.preventDefault();
      onActive(Math.max(0, Math.min(items.length - 1, to)));
    } else if (event.key === 'Enter' && active >= 0) {
      event.preventDefault();
      onOpen?.(active);
    }
  };

  const first = Math.max(0, Math.floor(view.top / height) - overscan);
  const last = Math.min(items.length, Math.ceil((view.top + view.height) / height) + overscan);
  const shown: number[] = [];
  for (let index = first; index < last; index++) shown.push(index);
  // The active row must be in the DOM for assistive technology.
  if (active >= 0 && active < items.length && (active < first || active >= last)) shown.push(active);
  return (
    <div
      ref={box}
      class={`virtual ${props.class ?? ''}`}
      role="listbox"
      tabIndex={0}
      aria-label={label}
      aria-activedescendant={active >= 0 && active < items.length ? `${name}-${active}` : undefined}
      onKeyDown={onKeyDown}
    >
      <div class="virtual-space" role="presentation" style={{ height: `${items.length * height}px` }}>
        {shown.map((index) => {
          const item = items[index] as T;
          return (
            <div
              key={keyOf(item)}
              id={`${name}-${index}`}
              class="virtual-row"
              role="option"
              aria-selected={index === active}
              aria-setsize={items.length}
              aria-posinset={index + 1}
              style={{ transform: `translateY(${index * height}px)`, height: `${height}px` }}
              onClick={() => {
                onActive(index);
                onOpen?.(index);
              }}
            >
              {render(item, index)}
            </div>
          );
        })}
      </div>
    </div>
  );
}
