/** The daemon, this machine's settings, and problems found here. */
import { useState } from 'preact/hooks';
import { call, CallError, gone, type Shapes } from '../api/call';
import { emulator } from '../state/emulator';
import { useAnswer } from '../state/ask';
import { href } from '../state/route';
import type { Status } from '../state/teams';
import { useStore } from '../state/store';
import { bytes, count, duration, when } from '../text';
import { Icon } from '../ui/icon';
import { Copy, Dot, Loading, Time, Trouble } from '../ui/parts';
import { Words } from '../ui/words';

export function Machine({ status }: { status: Status }) {
  return (
    <div class="view">
      <header class="view-head">
        <h1>Machine</h1>
        <span class="faint">podsync {status.version}</span>
      </header>
      {status.warnings.map((warning) => (
        <p key={warning} class="warning">
          <Icon name="warning" />
          <span>
            <Words text={warning} />
          </span>
        </p>
      ))}
      <section aria-label="Daemon">
        <h2>Daemon</h2>
        <dl class="facts">
          <div>
            <dt>Device</dt>
            <dd class="device">
              <span class="mono break">{status.device}</span>
              <Copy text={status.device} label="Copy the device's id" />
            </dd>
          </div>
          <div>
            <dt>Home</dt>
            <dd class="mono break">{status.home}</dd>
          </div>
          <div>
            <dt>Process</dt>
            <dd>
              {status.pid}
              {status.transient && <span class="faint">, only as long as one command runs</span>}
            </dd>
          </div>
          <div>
            <dt>Listens at</dt>
            <dd>
              {status.listening.length === 0 && <span class="faint">nowhere</span>}
              {status.listening.map((address) => (
                <span key={address} class="mono break line">
                  {address.replace(/\/p2p\/.*/, '')}
                </span>
              ))}
            </dd>
          </div>
          <div>
            <dt>Disk</dt>
            <dd>{bytes(status.bytes_held)}</dd>
          </div>
          <div>
            <dt>Traffic</dt>
            <dd>{traffic(status).join('; ')}</dd>
          </div>
        </dl>
      </section>
      {status.teams.map(
        (team) =>
          team.hub && (
            <section key={team.id} aria-label={`Hub of ${team.name}`}>
              <h2>Hub of {team.name}</h2>
              <Hub hub={team.hub} />
            </section>
          ),
      )}
      <ByItself status={status} />
      <Doctor />
      <SettingsList />
    </div>
  );
}

/** What keeps bytes from moving. */
function traffic({ paused, limit_up, limit_down, metered }: Status): string[] {
  const words = [];
  if (paused) words.push(paused.until_ms ? `paused until ${when(paused.until_ms)}` : 'paused until podsync resume');
  if (limit_up) words.push(`sends at most ${bytes(limit_up)} a second`);
  if (limit_down) words.push(`receives at most ${bytes(limit_down)} a second`);
  if (metered) words.push('the network is metered, so nothing is fetched that nobody asked for');
  return words.length ? words : ['no limits'];
}

/** What the daemon does for a pod without being asked each time. */
function ByItself({ status: { follows = [], autosaves = [] } }: { status: Status }) {
  return (
    <section aria-label="By itself">
      <h2>By itself</h2>
      {follows.length + autosaves.length === 0 && (
        <p class="faint">
          Nothing. Follow a pod on its page, or save an emulator while you work:{' '}
          <code>podsync autosave orders --every 10m</code>
        </p>
      )}
      <ul class="lines">
        {follows.map(({ team, pod, load }) => (
          <li key={`${team}/${pod}`}>
            <span>
              Pulls what teammates share of <a href={href({ team, view: 'pods', pod })}>{pod}</a>
              {load && `, and loads it into ${load.endpoint}`}
            </span>
          </li>
        ))}
        {autosaves.map(({ team, pod, endpoint, every_s, on_stop, keep, newest_ms }) => (
          <li key={`${team}/${pod}`}>
            <span>
              Saves {endpoint} to <a href={href({ team, view: 'pods', pod })}>{pod}</a>{' '}
              {[every_s && `every ${duration(every_s)}`, on_stop && 'before it stops'].filter(Boolean).join(' and ')}
            </span>
            <span class="faint">
              keeps {keep}
              {newest_ms && (
                <>
                  , newest <Time ms={newest_ms} />
                </>
              )}
            </span>
          </li>
        ))}
      </ul>
    </section>
  );
}

function Hub({ hub }: { hub: Shapes['HubStatus'] }) {
  return (
    <p>
      <Dot tone={hub.trouble ? 'bad' : hub.heard_ms ? 'good' : 'off'} label={hub.trouble ? 'trouble' : 'fine'} />{' '}
      <span class="mono">{hub.url}</span>{' '}
      <span class="faint">
        {hub.heard_ms ? (
          <>
            heard <Time ms={hub.heard_ms} />
          </>
        ) : (
          'not heard yet'
        )}
        {hub.waiting === 0 && ', everything shared here is in the bucket'}
        {!!hub.waiting && `, ${count(hub.waiting, 'change')} waiting for upload`}
      </span>
      {hub.trouble && <span class="warning">{hub.trouble}</span>}
    </p>
  );
}

const TONES = { ok: 'good', warning: 'off', failure: 'bad' } as const;

function Doctor() {
  const [findings, setFindings] = useState<Shapes['Finding'][] | null>(null);
  const [error, setError] = useState<CallError | null>(null);
  const [busy, setBusy] = useState(false);
  const { endpoint, token } = useStore(emulator);
  const look = () => {
    setBusy(true);
    setError(null);
    call('/v1/doctor', { endpoint, ...(token ? { token } : {}) })
      .then(setFindings)
      .catch((error: unknown) => setError(error instanceof CallError ? error : gone()))
      .finally(() => setBusy(false));
  };
  return (
    <section aria-label="Doctor">
      <div class="section-head">
        <h2>Doctor</h2>
        <div class="grow" />
        <button type="button" disabled={busy} onClick={look}>
          {busy ? 'Looking…' : findings ? 'Look again' : 'Look for problems'}
        </button>
      </div>
      {error && <Trouble error={error} />}
      <div aria-live="polite">
        {!findings && !error && <p class="faint">It checks home, disk, port, teams, multicast, clock and emulator.</p>}
        {findings && (
          <ul class="findings">
            {findings.map((finding, index) => (
              <li key={index} class={finding.verdict}>
                <Dot tone={TONES[finding.verdict]} label={finding.verdict} />
                <strong>{finding.check}</strong>
                <div>
                  <p class="break">{finding.found}</p>
                  {finding.fix && <p class="faint">
                      To fix it: <Words text={finding.fix} />
                    </p>}
                </div>
              </li>
            ))}
          </ul>
        )}
      </div>
    </section>
  );
}

function SettingsList() {
  const { data, error, first, again } = useAnswer('/v1/settings', {}, { live: false });
  return (
    <section aria-label="Settings">
      <h2>Settings</h2>
      {error && <Trouble error={error} again={again} />}
      {first && <Loading what="the settings" />}
      {data && (
        <>
          <p class="faint">
            In force since the daemon started. Change them in <span class="mono break">{data.file}</span>
          </p>
          <pre class="settings" tabIndex={0} aria-label="Settings in force">
            {data.toml.trim()}
          </pre>
        </>
      )}
    </section>
  );
}
