/** Numbers, times and names as people read them. */

const UNITS = ['B', 'kB', 'MB', 'GB', 'TB'];

export function bytes(n: number): string {
  let unit = 0;
  while (n >= 1000 && unit < UNITS.length - 1) {
    n /= 1000;
    unit += 1;
  }
  return `${unit === 0 || n >= 100 ? Math.round(n) : n.toFixed(1)} ${UNITS[unit]}`;
}

export function count(n: number, one: string, many = `${one}s`): string {
  return `${n.toLocaleString('en')} ${n === 1 ? one : many}`;
}

const STEPS: [number, string][] = [
  [60, 'second'],
  [60, 'minute'],
  [24, 'hour'],
  [30, 'day'],
  [12, 'month'],
  [Infinity, 'year'],
];
const relative = new Intl.RelativeTimeFormat('en', { numeric: 'auto' });

export function ago(ms: number, now = Date.now()): string {
  let left = (ms - now) / 1000;
  if (Math.abs(left) < 10) return 'just now';
  for (const [size, unit] of STEPS) {
    if (Math.abs(left) < size) return relative.format(Math.round(left), unit as Intl.RelativeTimeFormatUnit);
    left /= size;
  }
  return '';
}

const exact = new Intl.DateTimeFormat('en', { dateStyle: 'medium', timeStyle: 'short' });

export function when(ms: number): string {
  return exact.format(ms);
}

export function duration(seconds: number): string {
  for (const [size, unit] of [
    [86400, 'day'],
    [3600, 'hour'],
    [60, 'minute'],
  ] as const) {
    if (seconds >= size && seconds % size === 0) return count(seconds / size, unit);
  }
  return count(seconds, 'second');
}

/** Names come from states that others made. Characters that control or reorder text are shown as their codes. */
export function printable(text: string): string {
  return text.replace(/[\u0000-\u001f\u007f-\u009f\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff]/g, (c) => {
    return `\\u{${c.codePointAt(0)?.toString(16)}}`;
  });
}

export function short(device: string): string {
  return device.slice(-8);
}
