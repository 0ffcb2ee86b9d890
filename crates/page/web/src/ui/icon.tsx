/** Line icons on a grid of 16. They say nothing that words don't. */

const PATHS = {
  pods: 'M8 1.8 13.8 5v6L8 14.2 2.2 11V5zM2.5 5.2 8 8.2l5.5-3M8 8.2v6',
  activity: 'M1.5 8.5h3l2-5 3 9.5 2-4.500h3',
  team: 'M6 7.500a2.5 2.5 0 1 0 0-5 2.5 2.5 0 0 0 0 5zM1.5 13.500c0-2.5 2-4 4.5-4s4.5 1.5 4.5 4M10.5 2.700a2.5 2.5 0 0 1 0 4.600M12.2 9.800c1.5.6 2.3 1.9 2.3 3.7',
  storage: 'M2.5 4c0-1.2 2.5-2 5.5-2s5.5.8 5.5 2-2.5 2-5.5 2-5.5-.8-5.5-2zM2.5 4v8c0 1.2 2.5 2 5.5 2s5.5-.8 5.5-2V4M2.5 8c0 1.2 2.5 2 5.5 2s5.5-.8 5.5-2',
  machine: 'M2 3h12v8H2zM5.5 14h5M8 11v3',
  close: 'M3.5 3.500l9 9M12.5 3.500l-9 9',
  check: 'M3 8.500l3.5 3.500L13 4.5',
  copy: 'M5.5 5.500h8v8h-8zM10.5 5.500v-3h-8v8h3',
  warning: 'M8 2 14.5 13.500h-13zM8 6.500v3.200M8 11.600v.2',
  load: 'M8 2v8M4.5 6.8 8 10.300l3.5-3.500M2.5 13.500h11',
  share: 'M8 10.300V2.300M4.5 5.6 8 2.100l3.5 3.500M2.5 9.500v4h11v-4',
  pull: 'M8 2.300v8M4.5 7 8 10.5 11.5 7M2.5 13.500h11',
  export: 'M9.5 2.500h4v4M13.5 2.5 7.5 8.500M11.5 9v4.500h-9v-9H7',
  tag: 'M2.5 2.500h5.200l5.8 5.8-5.2 5.2-5.8-5.800zM5.3 5.300v.1',
  pin: 'M6 2h4l-.5 4.5 2 2.500h-7l2-2.500zM8 9v5',
  trash: 'M2.5 4h11M6 4V2.500h4V4M4 4l.6 9.500h6.800L12 4M6.7 6.500v4.500M9.3 6.500v4.5',
  diff: 'M8 2.500v6M5 5.500h6M5 12.500h6',
  plus: 'M8 3v10M3 8h10',
  search: 'M7 11.500a4.5 4.5 0 1 0 0-9 4.5 4.5 0 0 0 0 9zM10.3 10.300l3.7 3.7',
  back: 'M9.5 3.5 5 8l4.5 4.5',
  undo: 'M3 6.500h6.500a3.5 3.5 0 0 1 0 7H6M3 6.500l3-3M3 6.500l3 3',
  save: 'M2.5 2.500h8.500l2.5 2.500v8.500h-11zM5 2.500v4h5v-4M5 13.500v-4h6v4',
  lock: 'M4 7.500h8v6H4zM5.5 7.500V5a2.5 2.5 0 0 1 5 0v2.5',
  help: 'M6 6a2 2 0 1 1 2.8 1.800c-.5.2-.8.6-.8 1.200M8 11.500v.1M8 14.500a6.5 6.5 0 1 0 0-13 6.5 6.5 0 0 0 0 13z',
  fork: 'M5 13.500v-11M5 9c0-3 6-1.5 6-5.5',
} as const;

export type IconName = keyof typeof PATHS;

export function Icon({ name }: { name: IconName }) {
  return (
    <svg class="icon" viewBox="0 0 16 16" width="16" height="16" aria-hidden="true" focusable="false">
      <path d={PATHS[name]} />
    </svg>
  );
}
