/** The differences between two versions, or between an instance before and after a load. */
import type { Shapes } from '../api/call';
import { useAnswer } from '../state/ask';
import type { Version } from '../state/graph';
import type { TeamStatus } from '../state/teams';
import { bytes, number, printable } from '../text';
import { Loading, Trouble } from '../ui/parts';
import { ResourceName } from './resources';

export function Comparison({ team, version, other }: { team: TeamStatus; version: Version; other: Version }) {
  const pod = version.reference.split(/[:@]/)[0] ?? '';
  // From the older one to the newer one, as people read it.
  const [before, after] = version.created_ms >= other.created_ms ? [other, version] : [version, other];
  const held = before.held && after.held;
  const body = held ? { before: `${pod}@${before.id}`, after: `${pod}@${after.id}` } : null;
  const { data, error, again } = useAnswer('/v1/teams/{team}/diff', body, { team: team.name, live: false });
  if (!held) {
    const missing = [before, after].filter(({ held }) => !held).map(({ reference }) => reference);
    return <p class="faint">Pull {missing.join(' and ')} to compare: both have to be on this machine.</p>;
  }
  if (error) return <Trouble error={error} again={again} />;
  if (!data) return <Loading what="both versions" />;
  return (
    <>
      <p class="faint">
        From <span class="mono">{before.reference}</span> to <span class="mono">{after.reference}</span>
      </p>
      <ChangeList changes={data.changes} />
    </>
  );
}

const SIGNS = { added: '+', changed: '~', removed: '−' } as const;
const MOST = 1000;

export function ChangeList({ changes }: { changes: Shapes['Changes'] }) {
  const { added, changed, removed, list } = changes;
  const all = added + changed + removed;
  // A file has no service and no region.
  const resources = list.some(({ subject }) => 'resource' in subject);
  if (all === 0) return <p>Nothing differs.</p>;
  return (
    <>
      <p class="change-numbers">
        <span class="added">{number(added)} added</span>
        <span class="changed">{number(changed)} changed</span>
        <span class="removed">{number(removed)} removed</span>
      </p>
      <div class="table-box" tabIndex={0} role="region" aria-label="Changes">
        <table class="changes">
          <thead>
            <tr>
              <th scope="col">Change</th>
              {resources && <th scope="col">Service</th>}
              <th scope="col">What</th>
              {resources && <th scope="col">Region</th>}
            </tr>
          </thead>
          <tbody>
            {list.slice(0, MOST).map((change, index) => (
              <Line key={index} change={change} resources={resources} />
            ))}
          </tbody>
        </table>
      </div>
      {all > Math.min(list.length, MOST) && (
        <p class="faint">The first {number(Math.min(list.length, MOST))} of {number(all)}.</p>
      )}
    </>
  );
}

function Line({ change: { difference, subject }, resources }: { change: Shapes['Change']; resources: boolean }) {
  const sign = (
    <td class={difference}>
      <span aria-hidden="true">{SIGNS[difference]}</span> {difference}
    </td>
  );
  if ('entry' in subject) {
    return (
      <tr>
        {sign}
        {resources && <td />}
        <td>
          <span class="mono">{printable(subject.entry.name)}</span>{' '}
          <span class="faint">{bytes(subject.entry.len)}</span>
        </td>
        {resources && <td />}
      </tr>
    );
  }
  const { resource } = subject;
  return (
    <tr>
      {sign}
      <td>{resource.service}</td>
      <td>
        <ResourceName resource={resource} />
      </td>
      <td>{resource.region ?? <span class="faint">–</span>}</td>
    </tr>
  );
}
