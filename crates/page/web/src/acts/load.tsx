/** Loading a version. First shows what it would change. */
import { useEffect, useState } from 'preact/hooks';
import { type Answer, type Progress, CallError, gone } from '../api/call';
import { act, carryOut, Stopped } from '../state/acts';
import { emulator } from '../state/emulator';
import type { Version } from '../state/graph';
import { useStore } from '../state/store';
import type { TeamStatus } from '../state/teams';
import { count } from '../text';
import { Dialog } from '../ui/dialog';
import { Icon } from '../ui/icon';
import { CheckField, ProgressLine, SelectField, Trouble } from '../ui/parts';
import { ChangeList } from '../views/diff';
import { EmulatorFields } from './emulator';
import { exactly, WAIT_S } from './version';

type Forecast = Answer<'/v1/teams/{team}/forecast'>;

const MERGES = [
  ['account-region-merge', 'Replace what is there by account and region'],
  ['service-merge', 'Merge into what is there'],
  ['overwrite', 'Replace everything'],
] as const;
type Merge = (typeof MERGES)[number][0];

interface Props {
  team: TeamStatus;
  version: Version;
  onClose: () => void;
}

export function LoadDialog({ team, version, onClose }: Props) {
  const { endpoint, token } = useStore(emulator);
  const [merge, setMerge] = useState<Merge>('account-region-merge');
  const [left, setLeft] = useState<ReadonlySet<string>>(new Set());
  const [forecast, setForecast] = useState<Forecast | null>(null);
  const [progress, setProgress] = useState<Progress | null>(null);
  const [error, setError] = useState<CallError | null>(null);
  const [busy, setBusy] = useState(false);
  const services = left.size ? version.services.filter((service) => !left.has(service)) : [];
  const common = {
    reference: exactly(version),
    endpoint,
    ...(token ? { token } : {}),
    merge,
    services,
    wait_s: WAIT_S,
    until_shared: false,
  };
  const choice = JSON.stringify([endpoint, merge, services]);
  // A forecast is only valid for the choices that it was made with.
  useEffect(() => setForecast(null), [choice]);

  const look = async () => {
    setBusy(true);
    setError(null);
    setProgress(null);
    try {
      const title = `Forecast ${version.reference}`;
      setForecast(await carryOut('/v1/teams/{team}/forecast', common, title, team.name, setProgress));
    } catch (error) {
      if (!(error instanceof Stopped)) setError(error instanceof CallError ? error : gone());
    } finally {
      setBusy(false);
    }
  };

  const load = async () => {
    onClose();
    await act(
      '/v1/teams/{team}/load',
      { ...common, consents: [], once: false, sources: 'any' },
      {
        title: `Load ${version.reference}`,
        team: team.name,
        done: (loaded) => {
          const failed = loaded.failed.length ? ` ${count(loaded.failed.length, 'service')} refused it.` : '';
          const undo = loaded.checkpoint ? ' Undo in Activity brings back what was there.' : '';
          return `Loaded ${loaded.reference}: ${loaded.applied.join(', ') || 'all services'}.${failed}${undo}`;
        },
      },
    );
  };

  return (
    <Dialog
      wide
      title={`Load ${version.reference}`}
      onClose={onClose}
      onSubmit={() => void (forecast ? load() : look())}
      buttons={
        <>
          <button type="button" onClick={onClose}>
            Cancel
          </button>
          {forecast ? (
            <button class="primary" type="submit">
              <Icon name="load" /> Load it
            </button>
          ) : (
            <button class="primary" type="submit" disabled={busy}>
              {busy ? 'Looking…' : 'See what would change'}
            </button>
          )}
        </>
      }
    >
      <EmulatorFields />
      <SelectField label="How" value={merge} choices={MERGES} onValue={setMerge} />
      {version.services.length > 1 && (
        <fieldset class="services">
          <legend>Services</legend>
          {version.services.map((service) => (
            <CheckField
              key={service}
              label={service}
              checked={!left.has(service)}
              onChecked={(checked) => {
                const next = new Set(left);
                if (checked) next.delete(service);
                else if (next.size < version.services.length - 1) next.add(service);
                setLeft(next);
              }}
            />
          ))}
        </fieldset>
      )}
      <div aria-live="polite">
        {busy && <ProgressLine progress={progress} />}
        {error && <Trouble error={error} />}
        {forecast && <Shown forecast={forecast} />}
      </div>
    </Dialog>
  );
}

function Shown({ forecast }: { forecast: Forecast }) {
  return (
    <section class="forecast">
      <h3>What it would change</h3>
      <p class="faint">
        {forecast.emulator} at {forecast.endpoint}.{' '}
        {forecast.planned ? 'The emulator made this plan.' : 'Two lists of resources were compared.'} The emulator's
        present state is kept first, and undo brings it back.
      </p>
      {(forecast.failed ?? []).map(([service, why]) => (
        <p key={service} class="warning">
          <Icon name="warning" /> {service} stays as it is: {why}
        </p>
      ))}
      {forecast.changes ? (
        <ChangeList changes={forecast.changes} />
      ) : (
        <p>Neither side lists its resources, so nothing can be said about each of them.</p>
      )}
    </section>
  );
}
