/** One pod: the graph of its versions, and the one that is selected. */
import { useEffect, useMemo, useRef, useState } from 'preact/hooks';
import { LoadDialog } from '../acts/load';
import { SaveDialog } from '../acts/save';
import { pull } from '../acts/version';
import { act } from '../state/acts';
import { useAnswer } from '../state/ask';
import { rows as rowsOf, type Row, type Version } from '../state/graph';
import { go, href, route } from '../state/route';
import { useStore } from '../state/store';
import { type TeamStatus, useStatus } from '../state/teams';
import { useKeys } from '../state/usekeys';
import { count, printable } from '../text';
import { DropZone } from '../ui/dropzone';
import { Icon } from '../ui/icon';
import { Empty, Loading, Time, Trouble } from '../ui/parts';
import { VirtualList } from '../ui/virtual';
import { Graph, LANE } from './graph';
import { VersionView } from './version';

const ROW = 46;
/**
 * Most lanes of the graph. Further ones are drawn over each other: with so many tips the graph is unreadable
 * anyway.
 */
const MOST_LANES = 8;

export function PodView({ team, pod }: { team: TeamStatus; pod: string }) {
  const { data, error, first, again } = useAnswer('/v1/teams/{team}/versions', { pod }, { team: team.name });
  const { version: wanted } = useStore(route);
  const [filter, setFilter] = useState('');
  const [dialog, setDialog] = useState<'load' | 'save' | File | null>(null);
  const search = useRef<HTMLInputElement>(null);
  const all = useMemo(() => rowsOf(data ?? []), [data]);
  const rows = useMemo(() => select(all, filter), [all, filter]);
  const [base, compared] = wanted?.split('..') ?? [];
  const selectedId = base ?? all[0]?.version.id;
  const active = rows.findIndex((row) => row.version.id === selectedId);
  const selected = all.find((row) => row.version.id === selectedId)?.version ?? null;
  const lanes = Math.min(MOST_LANES, Math.max(1, ...all.map((row) => row.lanes)));
  // The selected version was dropped: select the newest instead.
  useEffect(() => {
    if (data && wanted && !selected) go({ pod }, { replace: true });
  }, [data, wanted, selected]);
  const compare = () => {
    const other = selected && (selected.parents.find((id) => all.some((row) => row.version.id === id)) ?? next(all, selected));
    if (selected && other) go({ pod, version: `${selected.id}..${other}` });
  };
  useKeys({
    '/': () => search.current?.focus(),
    s: () => setDialog('save'),
    l: () => selected && setDialog('load'),
    p: () => selected && !selected.held && void pull(team, selected),
    d: compare,
  });
  return (
    <DropZone
      class={`view fill pod ${wanted ? 'with-version' : ''}`}
      words={`Drop a .snapshot here to save it as a version of ${pod}`}
      onFile={setDialog}
    >
      <header class="view-head">
        <a class="quiet button icon-only" href={href({ view: 'pods' })} aria-label="All pods">
          <Icon name="back" />
        </a>
        <h1>{pod}</h1>
        {data && <span class="faint">{count(data.length, 'version')}</span>}
        <div class="grow" />
        <label class="search">
          <Icon name="search" />
          <input
            ref={search}
            type="search"
            aria-label="Filter versions"
            placeholder="Filter"
            value={filter}
            onInput={(event) => setFilter(event.currentTarget.value)}
          />
        </label>
        <FollowButton team={team} pod={pod} />
        <button type="button" onClick={() => setDialog('save')}>
          <Icon name="save" /> Save
        </button>
      </header>
      {error && <Trouble error={error} again={again} />}
      {first && <Loading what="versions" />}
      {data?.length === 0 && (
        <Empty title="No version is left">
          All versions of this pod were dropped. <a href={href({ view: 'pods' })}>Go to all pods.</a>
        </Empty>
      )}
      {all.length > 0 && (
        <div class="split">
          <section class="split-list" aria-label="Versions">
            {rows.length === 0 && <Empty title="No version matches">Change the filter.</Empty>}
            <VirtualList
              class="versions"
              label={`Versions of ${pod}`}
              items={rows}
              height={ROW}
              keyOf={(row) => row.version.id}
              active={active}
              onActive={(index) => {
                const row = rows[index];
                if (row) go({ pod, version: row.version.id }, { replace: true });
              }}
              render={(row) => <VersionRow row={row} lanes={filter ? 0 : lanes} />}
            />
          </section>
          {selected && (
            <VersionView
              key={selected.id}
              team={team}
              version={selected}
              versions={all.map((row) => row.version)}
              compared={compared ?? null}
              onLoad={() => setDialog('load')}
            />
          )}
        </div>
      )}
      {dialog === 'load' && selected && <LoadDialog team={team} version={selected} onClose={() => setDialog(null)} />}
      {dialog && dialog !== 'load' && (
        <SaveDialog
          team={team}
          pod={pod}
          pods={[pod]}
          file={dialog === 'save' ? null : dialog}
          onClose={() => setDialog(null)}
        />
      )}
    </DropZone>
  );
}

function select(rows: Row[], filter: string): Row[] {
  const words = filter.toLowerCase().split(/\s+/).filter(Boolean);
  if (!words.length) return rows;
  return rows.filter(({ version }) => {
    const text = [version.reference, version.message, version.author, ...version.tags, ...version.services];
    const all = text.join(' ').toLowerCase();
    return words.every((word) => all.includes(word));
  });
}

/** The next version in the list, to compare with if no parent is left. */
function next(rows: Row[], version: Version): string | undefined {
  const index = rows.findIndex((row) => row.version.id === version.id);
  return (rows[index + 1] ?? rows[index - 1])?.version.id;
}

function VersionRow({ row, lanes }: { row: Row; lanes: number }) {
  const { version } = row;
  return (
    <div class={`version-row ${version.held ? '' : 'elsewhere'}`}>
      {lanes > 0 ? (
        <Graph row={row} lanes={lanes} height={ROW} />
      ) : (
        <span style={{ width: `${LANE}px` }} aria-hidden="true" />
      )}
      <div class="version-words">
        <span class="ellipsis">{printable(version.message) || <span class="faint">No message</span>}</span>
        <span class="faint ellipsis">
          {version.author}, <Time ms={version.created_ms} />
        </span>
      </div>
      <div class="version-flags">
        {version.tags.map((tag) => (
          <span key={tag} class="chip tag">
            {tag}
          </span>
        ))}
        <span class="mono faint">{version.number === null || version.number === undefined ? 'private' : version.number}</span>
      </div>
    </div>
  );
}

/** Shows and changes whether this machine follows the pod. */
function FollowButton({ team, pod }: { team: TeamStatus; pod: string }) {
  const status = useStatus();
  const follows = status.data?.follows?.some((followed) => followed.team === team.name && followed.pod === pod);
  const change = () =>
    follows
      ? act(
          '/v1/teams/{team}/unfollow',
          { pod },
          { title: `Unfollow ${pod}`, team: team.name, done: () => `${pod} is not pulled by itself any more.` },
        )
      : act(
          '/v1/teams/{team}/follow',
          { pod },
          {
            title: `Follow ${pod}`,
            team: team.name,
            done: () => `What teammates share of ${pod} comes to this machine by itself.`,
          },
        );
  return (
    <button type="button" aria-pressed={follows ?? false} onClick={() => void change()}>
      <Icon name={follows ? 'check' : 'pull'} /> {follows ? 'Following' : 'Follow'}
    </button>
  );
}
