/** The frame: navigation, the daemon's state, and everything that is shown over all views. */
import { useEffect, useRef, useState } from 'preact/hooks';
import { standing, transfers } from '../api/live';
import { session } from '../api/session';
import { acts } from '../state/acts';
import { afterFirstView } from '../state/first';
import { questions } from '../state/questions';
import { bind, watchKeys } from '../state/keys';
import { go, href, route, type View, VIEWS } from '../state/route';
import { useStore } from '../state/store';
import { type Status, type TeamStatus, useStatus, useTeam } from '../state/teams';
import { count } from '../text';
import { Icon } from '../ui/icon';
import { Dot, Loading, Trouble } from '../ui/parts';
import { Later, load } from './later';
import { Notices } from './notices';
import { Pods } from './pods';

const NAMES: Record<View, string> = {
  pods: 'Pods',
  activity: 'Activity',
  team: 'Team',
  storage: 'Storage',
  machine: 'Machine',
};

export function App() {
  const here = useStore(session);
  const asked = useStore(questions).length > 0;
  useEffect(watchKeys, []);
  if (here === 'none') return <Locked />;
  return (
    <>
      <Frame />
      {asked && <Later>{({ Questions }) => <Questions />}</Later>}
      <Notices />
    </>
  );
}

/** The view without a session: only the command can open the page. */
function Locked() {
  return (
    <main class="locked">
      <span class="empty-icon">
        <Icon name="lock" />
      </span>
      <h1>This page is locked</h1>
      <p>
        Run <code>podsync ui</code> in a terminal. It opens the page in this browser. The session ends when the daemon
        stops, or after half an hour in which no page was open.
      </p>
    </main>
  );
}

function Frame() {
  const status = useStatus();
  const team = useTeam(status.data);
  const where = useStore(route);
  const [help, setHelp] = useState(false);
  useEffect(
    () =>
      bind({
        '?': () => setHelp(true),
        '1': () => go({ view: 'pods' }),
        '2': () => go({ view: 'activity' }),
        '3': () => go({ view: 'team' }),
        '4': () => go({ view: 'storage' }),
        '5': () => go({ view: 'machine' }),
      }),
    [],
  );
  const title = where.pod ?? NAMES[where.view];
  useEffect(
    () =>
      afterFirstView(() => {
        document.title = `${title} – podsync`;
      }),
    [title],
  );
  return (
    <div class="frame">
      <a class="skip" href="#main" onClick={skip}>
        Skip to the content
      </a>
      <Side status={status.data} team={team} onHelp={() => setHelp(true)} />
      <Main key={`${team?.name ?? where.team}/${where.view}/${where.pod ?? ''}`} title={title}>
        {status.error && !status.data && <Trouble error={status.error} again={status.again} />}
        {status.first && <Loading what="the daemon's state" />}
        {status.data && !team && where.view !== 'machine' && <Later>{({ Begin }) => <Begin />}</Later>}
        {status.data && (team || where.view === 'machine') && <Content status={status.data} team={team} />}
      </Main>
      {help && <Later>{({ Help }) => <Help onClose={() => setHelp(false)} />}</Later>}
    </div>
  );
}

function skip(event: Event) {
  event.preventDefault();
  document.getElementById('main')?.focus();
}

/** A change of view moves the focus to its heading, so that screen readers read it. */
function Main({ title, children }: { title: string; children: preact.ComponentChildren }) {
  const main = useRef<HTMLElement>(null);
  const first = useRef(!document.body.dataset['seen']);
  useEffect(() => {
    document.body.dataset['seen'] = 'yes';
    if (!first.current && !document.querySelector('dialog[open]')) main.current?.focus({ preventScroll: true });
  }, []);
  return (
    <main id="main" ref={main} tabIndex={-1} aria-label={title}>
      {children}
    </main>
  );
}

function Content({ status, team }: { status: Status; team: TeamStatus | null }) {
  const { view, pod } = useStore(route);
  useEffect(() => afterFirstView(load), []);
  if (view === 'pods' && team && !pod) return <Pods team={team} />;
  return (
    <Later>
      {({ Activity, Machine, PodView, Storage, Team }) => {
        if (view === 'machine' || !team) return <Machine status={status} />;
        if (view === 'activity') return <Activity team={team} />;
        if (view === 'team') return <Team team={team} />;
        if (view === 'storage') return <Storage team={team} status={status} />;
        return <PodView team={team} pod={pod ?? ''} />;
      }}
    </Later>
  );
}

function Side({ status, team, onHelp }: { status: Status | null; team: TeamStatus | null; onHelp: () => void }) {
  const where = useStore(route);
  const running = useStore(acts).length + useStore(transfers).size;
  const warnings = status?.warnings.length ?? 0;
  const badges: Partial<Record<View, [number, string]>> = {
    activity: [running, count(running, 'transfer or act', 'transfers and acts')],
    machine: [warnings, count(warnings, 'warning')],
  };
  return (
    <header class="side">
      <div class="side-head">
        <Mark />
        {status && status.teams.length > 1 ? (
          <select
            aria-label="Team"
            value={team?.name}
            onChange={(event) => go({ team: event.currentTarget.value, view: where.view })}
          >
            {status.teams.map(({ name }) => (
              <option key={name} value={name}>
                {name}
              </option>
            ))}
          </select>
        ) : (
          <strong class="team-name">{team?.name ?? 'podsync'}</strong>
        )}
      </div>
      <nav aria-label="Views">
        <ul>
          {VIEWS.map((view) => {
            const [number, words] = badges[view] ?? [0, ''];
            return (
              <li key={view}>
                <a
                  href={href({ team: team?.name ?? where.team, view })}
                  aria-current={where.view === view ? 'page' : undefined}
                >
                  <Icon name={view} />
                  <span>{NAMES[view]}</span>
                  {number > 0 && (
                    <span class={`badge ${view === 'machine' ? 'warn' : ''}`} title={words}>
                      {number}
                    </span>
                  )}
                </a>
              </li>
            );
          })}
        </ul>
      </nav>
      <div class="side-foot">
        <Connection status={status} />
        <button type="button" class="quiet icon-only" aria-label="Keys and help" onClick={onHelp}>
          <Icon name="help" />
        </button>
      </div>
    </header>
  );
}

function Connection({ status }: { status: Status | null }) {
  const state = useStore(standing);
  if (state === 'away') {
    return (
      <p class="connection" role="status">
        <Dot tone="bad" label="The daemon does not answer" /> Daemon away
      </p>
    );
  }
  const peers = status?.peers_connected ?? 0;
  return (
    <p class="connection">
      <Dot tone={peers ? 'good' : 'off'} label={peers ? 'Connected' : 'No teammate is connected'} />
      {peers ? `${count(peers, 'device')} connected` : 'Nobody connected'}
    </p>
  );
}

function Mark() {
  return (
    <svg class="mark" viewBox="0 0 32 32" width="24" height="24" aria-hidden="true">
      <rect width="32" height="32" rx="8" />
      <path d="M10 9v14M10 16c0-4 12-2 12-7" />
      <circle cx="10" cy="8" r="3.2" />
      <circle cx="10" cy="24" r="3.2" />
      <circle cx="22" cy="8" r="3.2" />
    </svg>
  );
}
