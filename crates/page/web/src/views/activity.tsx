/** What runs now, and what happened since this page was opened. */
import { useState } from 'preact/hooks';
import { UndoDialog } from '../acts/undo';
import { activity, type Happened, type Transfer, transfers } from '../api/live';
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
  const happened = useStore(activity).filter((event) => !('team' in event) || !event.team || event.team === team.name);
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
              <Moving transfer={transfer} />
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

function Moving({ transfer }: { transfer: Transfer }) {
  const { direction, reference, bytes: done, of } = transfer;
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

const ICONS: Partial<Record<Happened['kind'], IconName>> = {
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
  const pod = 'pod' in event && event.kind !== 'dropped' ? event.pod : null;
  const reference = 'reference' in event ? event.reference : null;
  return (
    <li class={bad ? 'bad' : ''}>
      <Icon name={ICONS[event.kind] ?? 'activity'} />
      <div>
        <p>
          {words(event)} {pod && <a href={href({ view: 'pods', pod })}>{reference ?? pod}</a>}
        </p>
        {event.kind !== 'trouble' && 'message' in event && event.message && (
          <p class="faint ellipsis">{printable(event.message)}</p>
        )}
        {'hint' in event && event.hint && <p class="faint">{event.hint}</p>}
      </div>
      <span class="faint">
        <Time ms={event.time_ms} />
      </span>
    </li>
  );
}

function words(event: Happened): string {
  switch (event.kind) {
    case 'shared':
      return `${by(event, event.author)} shared`;
    case 'pulled':
      return `Pulled ${bytes(event.fetched)} of`;
    case 'saved':
      return 'Saved';
    case 'loaded':
      return `Loaded into ${event.endpoint}:`;
    case 'dropped':
      return `${by(event, event.by)} dropped ${event.reference}`;
    case 'tagged':
      return event.reference
        ? `${by(event, event.by)} set the tag ${event.tag} to`
        : `${by(event, event.by)} took away the tag ${event.tag} of`;
    case 'joined':
      return `${event.name} joined as ${event.role}`;
    case 'removed':
      return `${event.name} is out of the team`;
    case 'fork':
      return `${event.name} published contradicting versions; podsync ignores them`;
    case 'eviction':
      return `Gave back ${bytes(event.bytes)} of disk:`;
    case 'trouble':
      return event.message;
    default:
      return event.kind;
  }
}

function by({ this_device }: { this_device: boolean }, name: string): string {
  return this_device ? 'This device' : name;
}
