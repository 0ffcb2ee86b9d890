/**
 * Numbers, times and names as people read them. Written by hand: a browser takes longer to set up the first
 * formatter of `Intl` than to draw a view.
 */

export const DAY_S = 86_400;
const UNITS = ['B', 'kB', 'MB', 'GB', 'TB'];

export function bytes(n: number): string {
  let unit = 0;
  while (n >= 1000 && unit < UNITS.length - 1) {
    n /= 1000;
    unit += 1;
  }
  return `${unit === 0 || n >= 100 ? Math.round(n) : n.toFixed(1)} ${UNITS[unit]}`;
}

export function number(n: number): string {
  return String(n).replace(/\B(?=(\d{3})+$)/g, ',');
}

export function count(n: number, one: string, many = `${one}s`): string {
  return `${number(n)} ${n === 1 ? one : many}`;
}

const STEPS: [number, string][] = [
  [60, 'second'],
  [60, 'minute'],
  [24, 'hour'],
  [30, 'day'],
  [12, 'month'],
  [Infinity, 'year'],
];

export function ago(ms: number, now = Date.now()): string {
  let left = Math.abs(ms - now) / 1000;
  if (left < 10) return 'just now';
  for (const [size, unit] of STEPS) {
    if (Math.round(left) < size) {
      const time = count(Math.round(left), unit);
      return ms > now ? `in ${time}` : `${time} ago`;
    }
    left /= size;
  }
  return '';
}

const MONTHS = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec'];

export function when(ms: number): string {
  const time = new Date(ms);
  const two = (n: number) => String(n).padStart(2, '0');
  return `${time.getDate()} ${MONTHS[time.getMonth()]} ${time.getFullYear()}, ${two(time.getHours())}:${two(time.getMinutes())}`;
}

export function duration(seconds: number): string {
  for (const [size, unit] of [
    [DAY_S, 'day'],
    [3600, 'hour'],
    [60, 'minute'],
  ] as const) {
    if (seconds >= size && seconds % size === 0) return count(seconds / size, unit);
  }
  return count(seconds, 'second');
}

/** What a retention rule keeps. A rule that this page can't read is shown as it is. */
export function keeps(policy: string): string {
  if (policy === 'keep-all') return 'all versions';
  const kept: string[] = [];
  let grace_s = DAY_S;
  for (const word of policy.split(' ')) {
    const [, name, value] = /^(last|daily|grace)=(\d+)$/.exec(word) ?? [];
    if (name === 'last') kept.push(`newest ${number(Number(value))}`);
    else if (name === 'daily') kept.push(value === '1' ? 'one of the last day' : `one a day for ${number(Number(value))} days`);
    else if (name === 'grace') grace_s = Number(value);
    else if (word === 'tagged') kept.push('tagged');
    else return policy;
  }
  if (grace_s) kept.push(`younger than ${duration(grace_s)}`);
  return kept.join(', ');
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
