/**
 * The daemon's live events. One tab holds the stream and tells the others: a browser opens only six connections
 * to one server, and each stream takes one for good.
 */
import { changed } from '../state/ask';
import { store } from '../state/store';
import { ask, CallError, type Shapes } from './call';
import { session } from './session';
import { readEvents } from './sse';

/** An event of the daemon. `kind` says which of the other fields are set. */
export type Happened = Shapes['Event'];
export type Transfer = Extract<Happened, { kind: 'transfer' }>;

export type Standing = 'connecting' | 'live' | 'away';

export const standing = store<Standing>('connecting');
/** Recent events, newest first. */
export const activity = store<readonly Happened[]>([]);
/** Running transfers, by number. */
export const transfers = store<ReadonlyMap<number, Transfer>>(new Map());

const MOST_KEPT = 500;
/** How long to collect a burst of events before asking again, in milliseconds. */
const SETTLE_MS = 120;
const FIRST_RETRY_MS = 500;
const LAST_RETRY_MS = 8000;
const POLL_MS = 5000;
const FIRST_LOOK_MS = 1000;

type Word = { happened: Happened } | { standing: Standing } | { who: 'leads' };
const channel = new BroadcastChannel('podsync');

export function listen(): void {
  channel.onmessage = ({ data }: MessageEvent<Word>) => {
    if ('happened' in data) hear(data.happened);
    else if ('standing' in data) stand(data.standing);
    else if (leading) channel.postMessage({ standing: standing.get() } satisfies Word);
  };
  channel.postMessage({ who: 'leads' } satisfies Word);
  // The tab with the lock holds the stream. When it is closed, the next tab takes over.
  void navigator.locks.request('podsync-events', () => lead());
}

let leading = false;

async function lead(): Promise<never> {
  leading = true;
  let retry = FIRST_RETRY_MS;
  let last: string | null = null;
  for (;;) {
    if (session.get() !== 'open') {
      tell({ standing: 'away' });
      await until(() => session.get() === 'open');
    }
    try {
      const response = await ask('/v1/events', last ? { headers: { 'last-event-id': last } } : {});
      retry = FIRST_RETRY_MS;
      tell({ standing: 'live' });
      for await (const event of readEvents(response)) {
        last = event.id ?? last;
        tell({ happened: JSON.parse(event.data) as Happened });
      }
      tell({ standing: 'away' });
    } catch (error) {
      if (error instanceof CallError && error.told.code === 'internal') {
        // A daemon without event support is polled.
        tell({ standing: 'live' });
        changed();
        await pause(POLL_MS);
        continue;
      }
      tell({ standing: 'away' });
    }
    await pause(retry);
    retry = Math.min(retry * 2, LAST_RETRY_MS);
  }
}

function tell(word: { happened: Happened } | { standing: Standing }): void {
  if ('happened' in word) hear(word.happened);
  else stand(word.standing);
  channel.postMessage(word);
}

/** What happened before a stream began is seen by asking; a first view that is being drawn goes before that. */
function stand(next: Standing): void {
  const last = standing.get();
  standing.set(next);
  if (next !== 'live' || last === 'live') return;
  if (last === 'connecting') setTimeout(changed, FIRST_LOOK_MS);
  else changed();
}

let settling: ReturnType<typeof setTimeout> | undefined;

function hear(happened: Happened): void {
  if (happened.kind === 'transfer') moved(happened);
  // Another run of the daemon, perhaps: it tells again what still runs.
  else if (happened.kind === 'missed') transfers.set(new Map());
  else if (happened.kind !== 'peer') {
    activity.update((known) => [happened, ...known].slice(0, MOST_KEPT));
  }
  // It changes no answer until it ends.
  if (happened.kind === 'transfer' && happened.state === 'running') return;
  clearTimeout(settling);
  settling = setTimeout(changed, SETTLE_MS);
}

function moved(transfer: Transfer): void {
  const next = new Map(transfers.get());
  if (transfer.state === 'running') next.set(transfer.transfer, transfer);
  else next.delete(transfer.transfer);
  transfers.set(next);
}

const pause = (ms: number) => new Promise((done) => setTimeout(done, ms));

function until(true_: () => boolean): Promise<void> {
  return new Promise((done) => {
    const forget = session.watch(() => {
      if (!true_()) return;
      forget();
      done();
    });
  });
}
