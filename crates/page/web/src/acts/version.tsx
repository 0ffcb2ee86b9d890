/** Actions on one version. */
import { useState } from 'preact/hooks';
import { ask as request, CallError, gone } from '../api/call';
import { act, carryOut, notify, Stopped } from '../state/acts';
import { changed } from '../state/ask';
import type { Version } from '../state/graph';
import { ask } from '../state/questions';
import type { TeamStatus } from '../state/teams';
import { bytes, count } from '../text';
import { Dialog } from '../ui/dialog';
import { TextField } from '../ui/parts';

/** Seconds to look for a teammate who has it. */
export const WAIT_S = 20;

/** A reference to exactly this version, whatever is shared meanwhile. */
export function exactly(version: Version): string {
  return `${version.reference.split(/[:@]/)[0]}@${version.id}`;
}

export async function pull(team: TeamStatus, version: Version): Promise<void> {
  const body = { reference: exactly(version), wait_s: WAIT_S, until_shared: false, sources: 'any' as const };
  await act('/v1/teams/{team}/pull', body, {
    title: `Pull ${version.reference}`,
    team: team.name,
    done: (pulled) => {
      const from = pulled.sources.map((source) => source.name).join(', ');
      return `Pulled ${pulled.reference}: ${bytes(pulled.fetched)}${from ? ` from ${from}` : ''}.`;
    },
  });
}

export async function share(team: TeamStatus, version: Version): Promise<void> {
  const body = { reference: exactly(version), durable: false, consents: [] };
  await act('/v1/teams/{team}/share', body, {
    title: `Share ${version.reference}`,
    team: team.name,
    done: (shared) => {
      const told = shared.peers ? `${count(shared.peers, 'connected device')} heard of it` : 'nobody is connected now';
      return shared.already ? `${shared.reference} was shared before.` : `Shared ${shared.reference}; ${told}.`;
    },
  });
}

export async function pin(team: TeamStatus, version: Version): Promise<void> {
  const body = { reference: exactly(version), pinned: true, wait_s: WAIT_S, until_shared: false };
  await act('/v1/teams/{team}/pin', body, {
    title: `Pin ${version.reference}`,
    team: team.name,
    done: (pinned) => `${pinned.reference} stays on this machine.`,
  });
}

export async function confirmDrop(team: TeamStatus, version: Version): Promise<void> {
  const isShared = version.number != null;
  const yes = await ask({
    kind: 'confirm',
    title: `Drop ${version.reference}?`,
    message: isShared
      ? `Everybody in ${team.name} loses this version, and it can't be brought back. Export it first if somebody may need it.`
      : `This version is only on this machine, and it can't be brought back. Export it first if you may need it.`,
    yes: isShared ? `Drop it for ${team.name}` : 'Drop it',
    dangerous: true,
  });
  if (!yes) return;
  await act(
    '/v1/teams/{team}/drop',
    { reference: exactly(version), consents: [] },
    { title: `Drop ${version.reference}`, team: team.name, done: (dropped) => `Dropped ${dropped.reference}.` },
  );
}

/** The daemon writes a temporary file, and the browser downloads it. */
export async function exportFile(team: TeamStatus, version: Version): Promise<void> {
  const name = `${version.reference.replace(/[^A-Za-z0-9._-]+/g, '-')}.snapshot`;
  let place: { id: string; path: string } | null = null;
  try {
    place = (await (await request('/files', { method: 'POST' })).json()) as { id: string; path: string };
    const body = {
      reference: exactly(version),
      to: place.path,
      wait_s: WAIT_S,
      until_shared: false,
      sources: 'any' as const,
    };
    await carryOut('/v1/teams/{team}/export', body, `Export ${version.reference}`, team.name);
    const link = document.createElement('a');
    link.href = `/files/${place.id}/${encodeURIComponent(name)}`;
    link.download = name;
    link.click();
    notify({ tone: 'done', text: `Exported ${version.reference} as ${name}.` });
  } catch (error) {
    if (place) void request(`/files/${place.id}`, { method: 'DELETE' }).catch(() => undefined);
    if (error instanceof Stopped) return;
    const { told } = error instanceof CallError ? error : gone();
    notify({ tone: 'failed', text: told.message, hint: told.hint });
  } finally {
    changed();
  }
}

export function TagDialog({ team, version, onClose }: { team: TeamStatus; version: Version; onClose: () => void }) {
  const [tag, setTag] = useState('');
  const send = async () => {
    if (!tag) return;
    onClose();
    await act(
      '/v1/teams/{team}/tag',
      { reference: exactly(version), tag },
      { title: `Tag ${version.reference}`, team: team.name, done: (tagged) => `${tagged.reference} is ${tag} now.` },
    );
  };
  return (
    <Dialog
      title={`Tag ${version.reference}`}
      onClose={onClose}
      onSubmit={() => void send()}
      buttons={
        <>
          <button type="button" onClick={onClose}>
            Cancel
          </button>
          <button class="primary" type="submit">
            Set the tag
          </button>
        </>
      }
    >
      <TextField
        label="Tag"
        value={tag}
        onValue={setTag}
        required
        placeholder="baseline"
        hint="A tag stands for one version of a pod. It moves here if another version has it."
      />
    </Dialog>
  );
}
