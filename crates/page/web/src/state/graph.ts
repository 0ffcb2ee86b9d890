/** A pod's versions as a graph: the lane of each version, and the lines that pass its row. */
import type { Shapes } from '../api/call';

export type Version = Shapes['Version'];

export interface Row {
  version: Version;
  lane: number;
  /** From a lane at the row's top to one at its bottom; `null`: from or to the version itself. */
  lines: { from: number | null; to: number | null; lane: number }[];
  lanes: number;
}

/** The newest first, and no version above one that was made from it. */
export function order(versions: readonly Version[]): Version[] {
  const here = new Map(versions.map((version) => [version.id, version]));
  const children = new Map<string, number>();
  for (const version of versions) {
    for (const parent of version.parents) {
      if (here.has(parent)) children.set(parent, (children.get(parent) ?? 0) + 1);
    }
  }
  const newer = (a: Version, b: Version) => b.created_ms - a.created_ms || (b.number ?? 0) - (a.number ?? 0);
  const free = versions.filter((version) => !children.get(version.id)).sort(newer);
  const done: Version[] = [];
  for (let next = free.shift(); next; next = free.shift()) {
    done.push(next);
    for (const parent of new Set(next.parents)) {
      const left = (children.get(parent) ?? 0) - 1;
      children.set(parent, left);
      const found = here.get(parent);
      if (left === 0 && found) free.splice(place(free, found, newer), 0, found);
    }
  }
  // podsync can't make a cycle of versions. If there were one, its versions would still be listed.
  if (done.length < versions.length) {
    const seen = new Set(done);
    done.push(...versions.filter((version) => !seen.has(version)).sort(newer));
  }
  return done;
}

function place<T>(sorted: T[], value: T, before: (a: T, b: T) => number): number {
  let [low, high] = [0, sorted.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (before(sorted[middle] as T, value) <= 0) low = middle + 1;
    else high = middle;
  }
  return low;
}

export function rows(versions: readonly Version[]): Row[] {
  const ordered = order(versions);
  const here = new Set(ordered.map((version) => version.id));
  let lanes: (string | null)[] = [];
  return ordered.map((version) => {
    const before = lanes;
    const found = before.indexOf(version.id);
    const lane = found >= 0 ? found : free(before);
    const after = before.map((waits) => (waits === version.id ? null : waits));
    const lines: Row['lines'] = [];
    const into: number[] = [];
    for (const [index, parent] of [...new Set(version.parents)].filter((id) => here.has(id)).entries()) {
      const known = after.indexOf(parent);
      const to = known >= 0 ? known : index === 0 ? lane : free(after);
      after[to] = parent;
      into.push(to);
    }
    before.forEach((waits, from) => {
      if (waits === version.id) lines.push({ from, to: null, lane: from });
      else if (waits !== null) lines.push({ from, to: from, lane: from });
    });
    for (const to of into) lines.push({ from: null, to, lane: to });
    while (after.length && after.at(-1) === null) after.pop();
    lanes = after;
    return { version, lane, lines, lanes: Math.max(before.length, after.length, lane + 1) };
  });
}

function free(lanes: (string | null)[]): number {
  const index = lanes.indexOf(null);
  return index >= 0 ? index : lanes.length;
}
