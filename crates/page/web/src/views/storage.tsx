/** What podsync holds on this machine, what the team keeps, and what would go. */
import { useState } from 'preact/hooks';
import { RetentionDialog } from '../acts/retention';
import type { Answer, Shapes } from '../api/call';
import { act } from '../state/acts';
import { useAnswer } from '../state/ask';
import { may, type Status, type TeamStatus } from '../state/teams';
import { bytes, count } from '../text';
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
  // Only what would go: nothing is deleted by looking.
  const { data, error, again } = useAnswer('/v1/gc', { budget: 0, dry_run: true, consents: [] }, { live: false });
  const now = useAnswer('/v1/gc', { dry_run: true, consents: [] }, { live: false });
  const free = async () => {
    await act(
      '/v1/gc',
      { dry_run: false, consents: [] },
      { title: 'Free disk space', team: team.name, done: (freed) => `Freed ${bytes(freed.freed)}.` },
    );
    again();
    now.again();
  };
  return (
    <section aria-label="Disk">
      <h2>Disk</h2>
      {error && <Trouble error={error} again={again} />}
      {!data && !error && <Loading what="the disk" />}
      {data && now.data && <Budget all={data} now={now.data} onFree={() => void free()} />}
    </section>
  );
}

function Budget({ all, now, onFree }: { all: Answer<'/v1/gc'>; now: Answer<'/v1/gc'>; onFree: () => void }) {
  const others = all.evicted.reduce((sum, version) => sum + version.bytes, 0);
  const only = all.only_copies.reduce((sum, version) => sum + version.bytes, 0);
  const used = Math.max(1, all.before);
  const rest = Math.max(0, used - others - only);
  return (
    <>
      <div class="bar" role="img" aria-label={`${bytes(others)} also elsewhere, ${bytes(only)} only here`}>
        <span class="bar-others" style={{ flexGrow: others / used }} />
        <span class="bar-only" style={{ flexGrow: only / used }} />
        <span class="bar-rest" style={{ flexGrow: rest / used }} />
      </div>
      <ul class="legend">
        <li>
          <span class="swatch bar-others" /> {bytes(others)} in {count(all.evicted.length, 'version')} that others have
          too
        </li>
        <li>
          <span class="swatch bar-only" /> {bytes(only)} in {count(all.only_copies.length, 'version')} that only this
          machine is known to have
        </li>
        <li>
          <span class="swatch bar-rest" /> {bytes(rest)} shared between versions, or pinned
        </li>
      </ul>
      <p class="faint">
        {now.budget ? `The disk budget is ${bytes(now.budget)}.` : 'There is no disk budget: nothing is evicted by itself.'}{' '}
        {now.freed > 0 || now.evicted.length > 0
          ? `${bytes(now.freed)} can be freed now.`
          : 'Nothing has to go now.'}
      </p>
      {(now.freed > 0 || now.evicted.length > 0) && (
        <button type="button" onClick={onFree}>
          Free {bytes(now.freed)}
        </button>
      )}
      <ByPod all={all} />
    </>
  );
}

/** By pod, the largest first. */
function ByPod({ all }: { all: Answer<'/v1/gc'> }) {
  const pods = new Map<string, { others: number; only: number; versions: number }>();
  const add = (list: Shapes['Evicted'][], which: 'others' | 'only') => {
    for (const { reference, bytes } of list) {
      const name = reference.split(/[:@]/)[0] ?? reference;
      const pod = pods.get(name) ?? { others: 0, only: 0, versions: 0 };
      pod[which] += bytes;
      pod.versions += 1;
      pods.set(name, pod);
    }
  };
  add(all.evicted, 'others');
  add(all.only_copies, 'only');
  const rows = [...pods].sort(([, a], [, b]) => b.others + b.only - a.others - a.only);
  const most = Math.max(1, ...rows.map(([, pod]) => pod.others + pod.only));
  if (rows.length === 0) {
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
              Their own bytes
            </th>
            <th scope="col" class="number">
              Only here
            </th>
            <th scope="col" class="wide-cell">
              <span class="hidden">Share</span>
            </th>
          </tr>
        </thead>
        <tbody>
          {rows.slice(0, 200).map(([name, pod]) => (
            <tr key={name}>
              <th scope="row">{name}</th>
              <td class="number">{pod.versions}</td>
              <td class="number">{bytes(pod.others + pod.only)}</td>
              <td class="number">{pod.only ? bytes(pod.only) : ''}</td>
              <td>
                <div class="bar thin" aria-hidden="true">
                  <span class="bar-others" style={{ flexGrow: pod.others / most }} />
                  <span class="bar-only" style={{ flexGrow: pod.only / most }} />
                  <span class="bar-none" style={{ flexGrow: 1 - (pod.others + pod.only) / most }} />
                </div>
              </td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
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
                <span>{rule.policy}</span>
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
