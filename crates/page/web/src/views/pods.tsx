/** All pods of the team, with their newest versions. */
import { useMemo, useRef, useState } from 'preact/hooks';
import type { Shapes } from '../api/call';
import { useAnswer } from '../state/ask';
import { useKeys } from '../state/usekeys';
import { go } from '../state/route';
import { may, type TeamStatus } from '../state/teams';
import { count, printable } from '../text';
import { Icon } from '../ui/icon';
import { DropZone } from '../ui/dropzone';
import { Empty, Loading, Time, Trouble } from '../ui/parts';
import { VirtualList } from '../ui/virtual';
import { Later } from './later';

type Pod = Shapes['Pod'];
const ROW = 58;

export function Pods({ team }: { team: TeamStatus }) {
  const { data, error, first, again } = useAnswer('/v1/teams/{team}/pods', {}, { team: team.name });
  const [filter, setFilter] = useState('');
  const [active, setActive] = useState(0);
  const [saving, setSaving] = useState<File | true | null>(null);
  const search = useRef<HTMLInputElement>(null);
  const pods = useMemo(() => select(data ?? [], filter), [data, filter]);
  const open = (index: number) => {
    const pod = pods[index];
    if (pod) go({ view: 'pods', pod: pod.name });
  };
  useKeys({ '/': () => search.current?.focus(), s: () => setSaving(true) });
  return (
    <DropZone class="view fill" onFile={(file) => setSaving(file)} words="Drop a .snapshot here to import it">
      <header class="view-head">
        <h1>Pods</h1>
        {data && data.length > 0 && <span class="faint">{count(data.length, 'pod')}</span>}
        <div class="grow" />
        <label class="search">
          <Icon name="search" />
          <input
            ref={search}
            type="search"
            aria-label="Filter pods"
            placeholder="Filter"
            value={filter}
            onInput={(event) => {
              setFilter(event.currentTarget.value);
              setActive(0);
            }}
          />
        </label>
        <button type="button" class="primary" onClick={() => setSaving(true)}>
          <Icon name="save" /> Save a state
        </button>
      </header>
      {error && <Trouble error={error} again={again} />}
      {first && <Loading what="pods" />}
      {data?.length === 0 && <NoPods team={team} />}
      {pods.length > 0 && (
        <VirtualList
          class="pods"
          label="Pods"
          items={pods}
          height={ROW}
          keyOf={(pod) => pod.name}
          active={Math.min(active, pods.length - 1)}
          onActive={setActive}
          onOpen={open}
          render={(pod) => <PodRow pod={pod} />}
        />
      )}
      {!!data?.length && pods.length === 0 && <Empty title="No pod matches">Change the filter.</Empty>}
      {saving && (
        <Later>
          {({ SaveDialog }) => (
            <SaveDialog
              team={team}
              file={saving === true ? null : saving}
              pods={data?.map((pod) => pod.name) ?? []}
              onClose={() => setSaving(null)}
            />
          )}
        </Later>
      )}
    </DropZone>
  );
}

/** The matching pods, most recently changed first. */
function select(pods: readonly Pod[], filter: string): Pod[] {
  const words = filter.toLowerCase().split(/\s+/).filter(Boolean);
  const text = (pod: Pod) =>
    [pod.name, ...pod.tips.flatMap((tip) => [tip.message, tip.author, ...tip.services, ...tip.tags])]
      .join(' ')
      .toLowerCase();
  const found = words.length ? pods.filter((pod) => words.every((word) => text(pod).includes(word))) : [...pods];
  const dated = found.map((pod) => ({ pod, ms: newestOf(pod)?.created_ms ?? 0 }));
  dated.sort((a, b) => b.ms - a.ms || (a.pod.name < b.pod.name ? -1 : 1));
  return dated.map(({ pod }) => pod);
}

function newestOf({ tips }: Pod): Shapes['Version'] | null {
  let newest: Shapes['Version'] | null = null;
  for (const tip of tips) if (!newest || tip.created_ms > newest.created_ms) newest = tip;
  return newest;
}

function PodRow({ pod }: { pod: Pod }) {
  const newest = newestOf(pod);
  const forked = pod.tips.filter((tip) => tip.tip).length > 1;
  return (
    <div class="pod-row">
      <div class="pod-name">
        <strong>{pod.name}</strong>
        <span class="faint">{count(pod.versions + pod.private, 'version')}</span>
      </div>
      <div class="pod-newest">
        <span class="ellipsis">{printable(newest?.message ?? '') || <span class="faint">No message</span>}</span>
        {newest && (
          <span class="faint ellipsis">
            {newest.reference} by {newest.author}, <Time ms={newest.created_ms} />
          </span>
        )}
      </div>
      <div class="pod-flags">
        {forked && <span class="chip warn">forked</span>}
        {pod.private > 0 && <span class="chip">{pod.private} private</span>}
        {newest && !newest.held && <span class="chip">not here</span>}
      </div>
    </div>
  );
}

function NoPods({ team }: { team: TeamStatus }) {
  return (
    <Empty title={`${team.name} has no pods yet`} icon="pods">
      <p>
        A pod is a series of versions of your emulator's state. Start LocalStack and save its state, or drop a{' '}
        <code>.snapshot</code> file here.
      </p>
      <p>
        In a terminal: <code>podsync save orders --share</code>
      </p>
      {may(team, 'admin') && team.members < 2 && <p>Nobody else is in the team: invite a teammate in Team.</p>}
    </Empty>
  );
}
