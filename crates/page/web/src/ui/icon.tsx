/** Line icons on a grid of 16. The text beside an icon always says the same. */

const PATHS = {
  pods: 'M8 1.8 13.8 5v6L8 14.2 2.2 11V5zM2.5 5.2 8 8.2l5.5-3M8 8.2v6',
  activity: 'M1.5 8.5h3l2-5 3 9.5 2-4.5h3',
  team: 'M6 7.5a2.5 2.5 0 1 0 0-5 2.5 2.5 0 0 0 0 5zM1.5 13.5c0-2.5 2-4 4.5-4s4.5 1.5 4.5 4M10.5 2.7a2.5 2.5 0 0 1 0 4.6M12.2 9.8c1.5.6 2.3 1.9 2.3 3.7',
  storage: 'M2.5 4c0-1.2 2.5-2 5.5-2s5.5.8 5.5 2-2.5 2-5.5 2-5.5-.8-5.5-2zM2.5 4v8c0 1.2 2.5 2 5.5 2s5.5-.8 5.5-2V4M2.5 8c0 1.2 2.5 2 5.5 2s5.5-.8 5.5-2',
  machine: 'M2 3h12v8H2zM5.5 14h5M8 11v3',
  close: 'M3.5 3.5l9 9M12.5 3.5l-9 9',
  check: 'M3 8.5l3.5 3.5L13 4.5',
  copy: 'M5.5 5.5h8v8h-8zM10.5 5.5v-3h-8v8h3',
  warning: 'M8 2 14.5 13.5h-13zM8 6.5v3.2M8 11.6v.2',
  load: 'M8 2v8M4.5 6.8 8 10.3l3.5-3.5M2.5 13.5h11',
  share: 'M8 10.3V2.3M4.5 5.6 8 2.1l3.5 3.5M2.5 9.5v4h11v-4',
  pull: 'M8 2.3v8M4.5 7 8 10.5 11.5 7M2.5 13.5h11',
  export: 'M9.5 2.5h4v4M13.5 2.5 7.5 8.5M11.5 9v4.5h-9v-9H7',
  tag: 'M2.5 2.5h5.2l5.8 5.8-5.2 5.2-5.8-5.8zM5.3 5.3v.1',
  pin: 'M6 2h4l-.5 4.5 2 2.5h-7l2-2.5zM8 9v5',
  trash: 'M2.5 4h11M6 4V2.5h4V4M4 4l.6 9.5h6.8L12 4M6.7 6.5v4.5M9.3 6.5v4.5',
  diff: 'M8 2.5v6M5 5.5h6M5 12.5h6',
  plus: 'M8 3v10M3 8h10',
  search: 'M7 11.5a4.5 4.5 0 1 0 0-9 4.5 4.5 0 0 0 0 9zM10.3 10.3l3.7 3.7',
  back: 'M9.5 3.5 5 8l4.5 4.5',
  undo: 'M3 6.5h6.5a3.5 3.5 0 0 1 0 7H6M3 6.5l3-3M3 6.5l3 3',
  save: 'M2.5 2.5h8.5l2.5 2.5v8.5h-11zM5 2.5v4h5v-4M5 13.5v-4h6v4',
  lock: 'M4 7.5h8v6H4zM5.5 7.5V5a2.5 2.5 0 0 1 5 0v2.5',
  help: 'M6 6a2 2 0 1 1 2.8 1.8c-.5.2-.8.6-.8 1.2M8 11.5v.1M8 14.5a6.5 6.5 0 1 0 0-13 6.5 6.5 0 0 0 0 13z',
  fork: 'M5 13.5v-11M5 9c0-3 6-1.5 6-5.5',
} as const;

export type IconName = keyof typeof PATHS;

export function Icon({ name }: { name: IconName }) {
  return (
    <svg class="icon" viewBox="0 0 16 16" width="16" height="16" aria-hidden="true" focusable="false">
      <path d={PATHS[name]} />
    </svg>
  );
}
