/** What podsync holds on this machine, the team's retention rules, and what would be removed. */
import { useState } from 'preact/hooks';
import { RetentionDialog } from '../acts/retention';
import type { Answer, Shapes } from '../api/call';
import { act } from '../state/acts';
import { useAnswer } from '../state/ask';
import { may, type Status, type TeamStatus } from '../state/teams';
import { bytes, count, keeps } from '../text';
import { Empty, Loading, Time, Trouble } from '../ui/parts';

export function Storage({ team, status }: { team: TeamStatus; status: Status }) {
  return (
    <div class="view">
      <header class="view-head">
        <h1>Storage</h1>
        <span class="faint">{bytes(status.bytes_held)} on this machine</span>
      </header>
      <Disk team={team} />
      <Rules team={team} />
    </div>
  );
}

function Disk({ team }: { team: TeamStatus }) {
  // This asks teammates and the hub who else has each version. So it is done when the user opens the view, not with
  // each event.
  const { data, error, again } = useAnswer('/v1/du', {}, { live: false });
  const free = async () => {
    await act(
      '/v1/gc',
      { dry_run: false, consents: [] },
      { title: 'Free disk space', team: team.name, done: (freed) => `Freed ${bytes(freed.freed)}.` },
    );
    again();
  };
  return (
    <section aria-label="Disk">
      <div class="section-head">
        <h2>Disk</h2>
        <div class="grow" />
        <button type="button" onClick={() => void free()}>
          Free disk space
        </button>
      </div>
      {error && <Trouble error={error} again={again} />}
      {!data && !error && <Loading what="the disk" />}
      {data && <Usage usage={data} />}
    </section>
  );
}

function Usage({ usage }: { usage: Answer<'/v1/du'> }) {
  const { held, evictable, free, budget } = usage;
  const stays = Math.max(0, held - evictable);
  return (
    <>
      <div class="bar" role="img" aria-label={`${bytes(evictable)} also elsewhere, ${bytes(stays)} that stays`}>
        <span class="bar-others" style={{ flexGrow: evictable }} />
        <span class="bar-only" style={{ flexGrow: stays }} />
        {budget != null && <span class="bar-none" style={{ flexGrow: Math.max(0, budget - held) }} />}
      </div>
      <ul class="legend">
        <li>
          <span class="swatch bar-others" /> {bytes(evictable)} that others have too
        </li>
        <li>
          <span class="swatch bar-only" /> {bytes(stays)} that stays: only copies, pinned, or needed by those
        </li>
        <li class="faint">{bytes(free)} free on the disk</li>
      </ul>
      <p class="faint">
        {budget != null
          ? `The disk budget is ${bytes(budget)}.`
          : 'There is no disk budget: nothing is evicted by itself.'}
        {usage.bucket_unknown && ` The bucket could not be asked: ${usage.bucket_unknown}`}
      </p>
      <ByPod usage={usage} />
    </>
  );
}

/** Pods, largest first. Each can be expanded into its versions. */
function ByPod({ usage }: { usage: Answer<'/v1/du'> }) {
  const most = Math.max(1, ...usage.pods.map((pod) => pod.own));
  if (usage.pods.length === 0) {
    return (
      <Empty title="Nothing is stored here" icon="storage">
        What you save or pull is listed here by pod.
      </Empty>
    );
  }
  return (
    <div class="table-box" tabIndex={0} role="region" aria-label="Storage by pod">
      <table>
        <thead>
          <tr>
            <th scope="col">Pod</th>
            <th scope="col" class="number">
              Versions here
            </th>
            <th scope="col" class="number">
              Its own bytes
            </th>
            <th scope="col" class="number">
              With other pods
            </th>
            <th scope="col" class="number">
              Others have too
            </th>
            <th scope="col" class="wide-cell">
              <span class="hidden">Share</span>
            </th>
          </tr>
        </thead>
        {usage.pods.slice(0, MOST_PODS).map((pod) => (
          <PodRows key={`${pod.team}/${pod.pod}`} pod={pod} most={most} />
        ))}
      </table>
    </div>
  );
}

/** Rows that are drawn at once; the largest come first. */
const MOST_PODS = 300;

function PodRows({ pod, most }: { pod: Shapes['PodUsage']; most: number }) {
  const [open, setOpen] = useState(false);
  return (
    <tbody>
      <tr>
        <th scope="row">
          <button type="button" class="quiet expand" aria-expanded={open} onClick={() => setOpen(!open)}>
            {pod.pod}
          </button>
        </th>
        <td class="number">{pod.versions.length}</td>
        <td class="number">{bytes(pod.own)}</td>
        <td class="number">{pod.shared ? bytes(pod.shared) : ''}</td>
        <td class="number">{pod.evictable ? bytes(pod.evictable) : ''}</td>
        <td>
          <div class="bar thin" aria-hidden="true">
            <span class="bar-others" style={{ flexGrow: pod.evictable / most }} />
            <span class="bar-only" style={{ flexGrow: (pod.own - pod.evictable) / most }} />
            <span class="bar-none" style={{ flexGrow: 1 - pod.own / most }} />
          </div>
        </td>
      </tr>
      {open &&
        pod.versions.map((version) => (
          <tr key={version.reference} class="version-usage">
            <td class="mono">{version.reference}</td>
            <td />
            <td class="number">{bytes(version.own)}</td>
            <td class="number">{version.shared ? bytes(version.shared) : ''}</td>
            <td class="number">{version.evictable ? 'all' : version.pinned ? 'pinned' : ''}</td>
            <td class="faint">
              used <Time ms={version.last_used_ms} />
              {version.elsewhere.length > 0 && `; ${version.elsewhere.join(', ')}`}
            </td>
          </tr>
        ))}
    </tbody>
  );
}

function Rules({ team }: { team: TeamStatus }) {
  const { data, error, first, again } = useAnswer('/v1/teams/{team}/retention', {}, { team: team.name });
  const [setting, setSetting] = useState(false);
  const apply = () =>
    act(
      '/v1/teams/{team}/retention/apply',
      { dry_run: false },
      {
        title: 'Carry out retention',
        team: team.name,
        done: (applied) => `Dropped ${count(applied.dropped.length, 'version')}.`,
      },
    );
  return (
    <section aria-label="Retention">
      <div class="section-head">
        <h2>Retention</h2>
        <div class="grow" />
        {may(team, 'admin') && (
          <button type="button" onClick={() => setSetting(true)}>
            Set a rule…
          </button>
        )}
      </div>
      {error && <Trouble error={error} again={again} />}
      {first && <Loading what="the rules" />}
      {data && (
        <>
          {data.rules.length === 0 && <p class="faint">{team.name} keeps every version.</p>}
          <ul class="lines">
            {data.rules.map((rule) => (
              <li key={rule.pod ?? ''}>
                <strong>{rule.pod ?? 'All other pods'}</strong>
                <span>{keeps(rule.policy)}</span>
                {rule.unreadable && <span class="warning">{rule.unreadable}</span>}
              </li>
            ))}
          </ul>
          {data.due.length > 0 && (
            <>
              <h3>{count(data.due.length, 'version')} may go by these rules</h3>
              <DueList due={data.due} />
              <button type="button" class="danger-quiet" onClick={() => void apply()}>
                Drop those that are mine to drop
              </button>
            </>
          )}
        </>
      )}
      {setting && <RetentionDialog team={team} onClose={() => setSetting(false)} />}
    </section>
  );
}

export function DueList({ due }: { due: Shapes['Due'][] }) {
  return (
    <ul class="lines due">
      {due.slice(0, 100).map((version) => (
        <li key={version.version}>
          <span class="mono">{version.reference}</span>
          <span class="faint">
            {version.author}, <Time ms={version.created_ms} />
            {!version.ours && ' – for its author or an admin to drop'}
          </span>
        </li>
      ))}
      {due.length > 100 && <li class="faint">and {due.length - 100} more</li>}
    </ul>
  );
}
