/** What is inside a version: resources by service, account and region, or files where there is no index. */
import { useMemo, useState } from 'preact/hooks';
import type { Shapes } from '../api/call';
import { bytes, count, number, printable } from '../text';

type Resource = Shapes['Resource'];
/** Rows that are drawn at once. */
const PAGE = 300;

export function Resources({ shown }: { shown: Shapes['Shown'] }) {
  const [filter, setFilter] = useState('');
  const [most, setMost] = useState(PAGE);
  const rows = useMemo(() => linesOf(shown), [shown]);
  const words = filter.toLowerCase().split(/\s+/).filter(Boolean);
  const found = words.length ? rows.filter((row) => words.every((word) => row.text.includes(word))) : rows;
  if (rows.length === 0) return <p class="faint">Nothing is in it.</p>;
  return (
    <>
      {rows.length > 8 && (
        <input
          class="resource-filter"
          type="search"
          aria-label="Filter what is in it"
          placeholder={`Filter ${count(rows.length, shown.resources ? 'resource' : 'file')}`}
          value={filter}
          onInput={(event) => setFilter(event.currentTarget.value)}
        />
      )}
      <div class="table-box" tabIndex={0} role="region" aria-label="What is in it">
        <table>
          <thead>
            {shown.resources ? (
              <tr>
                <th scope="col">Service</th>
                <th scope="col">Resource</th>
                <th scope="col">Account</th>
                <th scope="col">Region</th>
              </tr>
            ) : (
              <tr>
                <th scope="col">File</th>
                <th scope="col" class="number">
                  Size
                </th>
              </tr>
            )}
          </thead>
          <tbody>
            {found.slice(0, most).map((row, index) => (
              <tr key={index}>{row.cells}</tr>
            ))}
          </tbody>
        </table>
      </div>
      {found.length > most && (
        <button type="button" onClick={() => setMost(most + 10 * PAGE)}>
          Show more of {number(found.length)}
        </button>
      )}
      {found.length === 0 && <p class="faint">Nothing matches.</p>}
      {shown.left_out > 0 && <p class="faint">{count(shown.left_out, 'more is', 'more are')} not listed.</p>}
    </>
  );
}

function linesOf(shown: Shapes['Shown']) {
  if (shown.resources) {
    return shown.resources.map((resource) => ({
      text: textOf(resource),
      cells: (
        <>
          <td>{resource.service}</td>
          <td>
            <ResourceName resource={resource} />
          </td>
          <td class="mono">{resource.account ?? <span class="faint">all</span>}</td>
          <td>{resource.region ?? <span class="faint">–</span>}</td>
        </>
      ),
    }));
  }
  return (shown.entries ?? []).map((entry) => ({
    text: entry.name.toLowerCase(),
    cells: (
      <>
        <td class="mono">{printable(entry.name)}</td>
        <td class="number">{bytes(entry.len)}</td>
      </>
    ),
  }));
}

function textOf({ service, kind, name, label, account, region }: Resource): string {
  return [service, kind, name, label, account, region].filter(Boolean).join(' ').toLowerCase();
}

export function ResourceName({ resource }: { resource: Resource }) {
  const counts = Object.entries(resource.counts).map(([what, n]) => `${number(n)} ${what}`);
  return (
    <>
      <span class="faint">{resource.kind}</span> {printable(resource.label ?? resource.name ?? '')}
      {counts.length > 0 && <span class="faint"> {counts.join(', ')}</span>}
    </>
  );
}
