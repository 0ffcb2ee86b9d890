/** One version: its details, actions, locations and contents. */
import { useState } from 'preact/hooks';
import type { Shapes } from '../api/call';
import { confirmDrop, exportFile, pin, pull, share, TagDialog } from '../acts/version';
import { useAnswer } from '../state/ask';
import type { Version } from '../state/graph';
import { go, href } from '../state/route';
import { may, type TeamStatus } from '../state/teams';
import { bytes, count, printable, when } from '../text';
import { Icon } from '../ui/icon';
import { Copy, Dot, Loading, Time, Trouble } from '../ui/parts';
import { Words } from '../ui/words';
import { Comparison } from './diff';
import { Resources } from './resources';

interface Props {
  team: TeamStatus;
  version: Version;
  versions: Version[];
  compared: string | null;
  onLoad: () => void;
}

export function VersionView({ team, version, versions, compared, onLoad }: Props) {
  const [tagging, setTagging] = useState(false);
  const pod = version.reference.split(/[:@]/)[0] ?? '';
  const exact = `${pod}@${version.id}`;
  const shown = useAnswer('/v1/teams/{team}/show', { reference: exact, contents: version.held }, { team: team.name });
  const other = versions.find(({ id }) => id === compared) ?? null;
  const mayShare = may(team, 'publisher');
  const isShared = version.number !== null && version.number !== undefined;
  return (
    <article class="version" aria-label={`Version ${version.reference}`}>
      <a class="quiet button back" href={href({ view: 'pods', pod })}>
        <Icon name="back" /> Versions
      </a>
      <header>
        <p class="reference">
          <span class="mono">{version.reference}</span>
          <Copy text={version.reference} label="Copy the reference" />
          {version.tags.map((tag) => (
            <span key={tag} class="chip tag">
              {tag}
            </span>
          ))}
          {!isShared && <span class="chip">private</span>}
          {version.tip && <span class="chip good">newest</span>}
        </p>
        <h2>{printable(version.message) || 'No message'}</h2>
        <p class="faint">
          {version.author}, <Time ms={version.created_ms} /> ({when(version.created_ms)})
        </p>
      </header>
      <div class="acts" role="group" aria-label="What to do with it">
        <button type="button" class="primary" onClick={onLoad}>
          <Icon name="load" /> Load…
        </button>
        {!isShared && mayShare && (
          <button type="button" onClick={() => void share(team, version)}>
            <Icon name="share" /> Share
          </button>
        )}
        {!version.held && (
          <button type="button" onClick={() => void pull(team, version)}>
            <Icon name="pull" /> Pull
          </button>
        )}
        <button type="button" onClick={() => void exportFile(team, version)}>
          <Icon name="export" /> Export
        </button>
        {isShared && mayShare && (
          <button type="button" onClick={() => setTagging(true)}>
            <Icon name="tag" /> Tag…
          </button>
        )}
        <button type="button" onClick={() => void pin(team, version)} title="Keep it here above the disk budget">
          <Icon name="pin" /> Pin
        </button>
        {(!isShared || mayShare) && (
          <button type="button" class="danger-quiet" onClick={() => void confirmDrop(team, version)}>
            <Icon name="trash" /> Drop…
          </button>
        )}
      </div>
      <Facts version={version} shown={shown.data} versions={versions} />
      {shown.error && <Trouble error={shown.error} again={shown.again} />}
      {shown.first && <Loading what="the version" />}
      {shown.data && <Lives whereabouts={shown.data.whereabouts} />}
      <section>
        <div class="section-head">
          <h3>{other ? 'Differences' : 'What is in it'}</h3>
          <div class="grow" />
          <CompareWith version={version} versions={versions} other={other} />
        </div>
        {other ? (
          <Comparison team={team} version={version} other={other} />
        ) : !version.held ? (
          <p class="faint">
            This version is not on this machine. Pull it to see what is in it.
          </p>
        ) : (
          shown.data && <Resources shown={shown.data} />
        )}
      </section>
      {tagging && <TagDialog team={team} version={version} onClose={() => setTagging(false)} />}
    </article>
  );
}

function Facts({ version, shown, versions }: { version: Version; shown: Shapes['Shown'] | null; versions: Version[] }) {
  const parents = version.parents.map((id) => versions.find((other) => other.id === id) ?? id);
  const pod = version.reference.split(/[:@]/)[0] ?? '';
  return (
    <dl class="facts">
      <div>
        <dt>Size</dt>
        <dd>
          {bytes(version.state_len)}
          {shown && <span class="faint">, {bytes(shown.packed_len)} packed</span>}
        </dd>
      </div>
      {version.emulator && (
        <div>
          <dt>Emulator</dt>
          <dd>{version.emulator}</dd>
        </div>
      )}
      {version.services.length > 0 && (
        <div>
          <dt>Services</dt>
          <dd>{version.services.join(', ')}</dd>
        </div>
      )}
      <div>
        <dt>Made from</dt>
        <dd>
          {parents.length === 0 && 'nothing before it'}
          {parents.map((parent, index) => (
            <span key={index}>
              {index > 0 && ', '}
              {typeof parent === 'string' ? (
                <span class="faint">one that was dropped</span>
              ) : (
                <a href={href({ view: 'pods', pod, version: parent.id })}>{parent.reference}</a>
              )}
            </span>
          ))}
        </dd>
      </div>
    </dl>
  );
}

function Lives({ whereabouts: where }: { whereabouts: Shapes['Whereabouts'] }) {
  const bucket = where.bucket;
  const others = [
    where.without.length && `${where.without.join(', ')} ${where.without.length === 1 ? 'has' : 'have'} nothing of it`,
    where.unknown.length && `${where.unknown.join(', ')} could not be asked`,
  ].filter(Boolean);
  return (
    <section>
      <h3>Where it lives</h3>
      {where.warning && (
        <p class="warning">
          <Icon name="warning" />
          <span>
            <Words text={where.warning} />
          </span>
        </p>
      )}
      <ul class="holders">
        {where.devices.map((device) => (
          <li key={device.device}>
            <Dot tone={device.whole ? 'good' : 'off'} label={device.whole ? 'all of it' : 'a part of it'} />
            <span>
              {device.name}
              {device.this_device && <span class="faint"> this device</span>}
            </span>
            <span class="faint number">
              {device.whole ? 'all of it' : `${bytes(device.held)} of ${bytes(where.needed)}`}
            </span>
          </li>
        ))}
        {bucket != null && (
          <li>
            <Dot tone={bucket === 'whole' ? 'good' : 'off'} label="the bucket" />
            <span>The team's bucket</span>
            <span class="faint">{inBucket(bucket)}</span>
          </li>
        )}
        {where.devices.length === 0 && bucket == null && <li class="faint">Nobody who could be asked has it.</li>}
      </ul>
      {others.length > 0 && <p class="faint">{others.join('; ')}.</p>}
    </section>
  );
}

function inBucket(bucket: NonNullable<Shapes['Whereabouts']['bucket']>): string {
  if (bucket === 'whole') return 'all of it';
  if (bucket === 'not_yet') return 'not yet';
  if (typeof bucket === 'object' && 'missing' in bucket) return `${count(bucket.missing, 'object')} missing`;
  return typeof bucket === 'object' && 'unknown' in bucket ? `not known: ${bucket.unknown}` : '';
}

function CompareWith({ version, versions, other }: { version: Version; versions: Version[]; other: Version | null }) {
  const pod = version.reference.split(/[:@]/)[0] ?? '';
  const choices = versions.filter(({ id }) => id !== version.id).slice(0, 200);
  if (choices.length === 0) return null;
  return (
    <label class="compare">
      <span>Compare with</span>
      <select
        value={other?.id ?? ''}
        onChange={(event) => {
          const id = event.currentTarget.value;
          go({ pod, version: id ? `${version.id}..${id}` : version.id }, { replace: true });
        }}
      >
        <option value="">nothing</option>
        {choices.map(({ id, reference, message }) => (
          <option key={id} value={id}>
            {reference} {printable(message).slice(0, 40)}
          </option>
        ))}
      </select>
    </label>
  );
}
