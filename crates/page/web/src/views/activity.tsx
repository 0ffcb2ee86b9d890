/** What runs now, and what happened since this page was opened. */
import { useState } from 'preact/hooks';
import { UndoDialog } from '../acts/undo';
import { activity, type Happened, transfers } from '../api/live';
import { acts } from '../state/acts';
import { href } from '../state/route';
import { useStore } from '../state/store';
import type { TeamStatus } from '../state/teams';
import { bytes, printable } from '../text';
import { Icon, type IconName } from '../ui/icon';
import { Empty, ProgressLine, Time } from '../ui/parts';

export function Activity({ team }: { team: TeamStatus }) {
  const running = useStore(acts);
  const moving = [...useStore(transfers).values()];
  const happened = useStore(activity).filter((event) => !event.team || event.team === team.name);
  const [undoing, setUndoing] = useState(false);
  const idle = running.length === 0 && moving.length === 0;
  return (
    <div class="view">
      <header class="view-head">
        <h1>Activity</h1>
        <div class="grow" />
        <button type="button" onClick={() => setUndoing(true)}>
          <Icon name="undo" /> Undo a load…
        </button>
      </header>
      <section aria-label="Running now">
        <h2>Running now</h2>
        {idle && <p class="faint">Nothing runs.</p>}
        <ul class="running">
          {running.map((act) => (
            <li key={act.id} class="card">
              <div class="section-head">
                <strong>{act.title}</strong>
                <div class="grow" />
                <button type="button" class="quiet" onClick={act.stop}>
                  Stop
                </button>
              </div>
              <ProgressLine progress={act.progress} />
            </li>
          ))}
          {moving.map((transfer) => (
            <li key={transfer.transfer} class="card">
              <Transfer transfer={transfer} />
            </li>
          ))}
        </ul>
      </section>
      <section aria-label="What happened">
        <h2>Since this page was opened</h2>
        {happened.length === 0 && (
          <Empty title="Nothing yet" icon="activity">
            When a teammate shares a version, joins or leaves, it appears here by itself.
          </Empty>
        )}
        <ol class="events">
          {happened.map((event, index) => (
            <Line key={event.id ?? `${event.time_ms}-${index}`} event={event} />
          ))}
        </ol>
      </section>
      {undoing && <UndoDialog team={team} onClose={() => setUndoing(false)} />}
    </div>
  );
}

function Transfer({ transfer }: { transfer: Happened }) {
  const { direction, reference, bytes: done = 0, of = 0 } = transfer;
  const words = direction === 'upload' ? `Uploading ${reference} to the bucket` : `Downloading ${reference}`;
  return (
    <div class="progress-line">
      <div class="progress-words">
        <span>{words}</span>
        <span class="faint number">
          {bytes(done)} of {bytes(of)}
        </span>
      </div>
      <progress aria-label={words} max={of || undefined} value={of ? done : undefined} />
    </div>
  );
}

const ICONS: Record<string, IconName> = {
  shared: 'share',
  pulled: 'pull',
  saved: 'save',
  loaded: 'load',
  dropped: 'trash',
  tagged: 'tag',
  joined: 'team',
  removed: 'team',
  fork: 'fork',
  trouble: 'warning',
  eviction: 'storage',
};

function Line({ event }: { event: Happened }) {
  const bad = event.kind === 'trouble' || event.kind === 'fork';
  return (
    <li class={bad ? 'bad' : ''}>
      <Icon name={ICONS[event.kind] ?? 'activity'} />
      <div>
        <p>
          {words(event)}{' '}
          {event.pod && event.kind !== 'dropped' && (
            <a href={href({ view: 'pods', pod: event.pod })}>{event.reference ?? event.pod}</a>
          )}
        </p>
        {event.kind !== 'trouble' && event.message && <p class="faint ellipsis">{printable(event.message)}</p>}
        {event.hint && <p class="faint">{event.hint}</p>}
      </div>
      <span class="faint">
        <Time ms={event.time_ms} />
      </span>
    </li>
  );
}

function words(event: Happened): string {
  const who = event.this_device ? 'This device' : (event.author ?? event.by ?? event.name ?? 'Somebody');
  switch (event.kind) {
    case 'shared':
      return `${who} shared`;
    case 'pulled':
      return `Pulled ${bytes(event.fetched ?? 0)} of`;
    case 'saved':
      return 'Saved';
    case 'loaded':
      return `Loaded into ${event.endpoint}:`;
    case 'dropped':
      return `${who} dropped ${event.reference}`;
    case 'tagged':
      return event.reference ? `${who} set the tag ${event.tag} to` : `${who} took away the tag ${event.tag} of`;
    case 'joined':
      return `${event.name} joined as ${event.role}`;
    case 'removed':
      return `${event.name} is out of the team`;
    case 'fork':
      return `${event.name} published contradicting versions; podsync ignores them`;
    case 'eviction':
      return `Gave back ${bytes(event.bytes ?? 0)} of disk:`;
    case 'trouble':
      return event.message ?? 'Something went wrong';
    default:
      return event.kind;
  }
}
