/** Saving a state: from the emulator, or from a file that was dropped or chosen. */
import { useState } from 'preact/hooks';
import { ask, CallError, gone } from '../api/call';
import { act } from '../state/acts';
import { notify } from '../state/acts';
import { emulator } from '../state/emulator';
import { may, type TeamStatus } from '../state/teams';
import { useStore } from '../state/store';
import { bytes, count } from '../text';
import { Dialog } from '../ui/dialog';
import { CheckField, TextField } from '../ui/parts';
import { EmulatorFields } from './emulator';

interface Props {
  team: TeamStatus;
  file: File | null;
  pods: string[];
  pod?: string;
  onClose: () => void;
}

export function SaveDialog({ team, file: given, pods, pod: known, onClose }: Props) {
  const [file, setFile] = useState<File | null>(given);
  const [from, setFrom] = useState<'emulator' | 'file'>(given ? 'file' : 'emulator');
  const [pod, setPod] = useState(known ?? (given ? podOf(given.name) : ''));
  const [message, setMessage] = useState('');
  const [services, setServices] = useState('');
  const mayShare = may(team, 'publisher');
  const [share, setShare] = useState(false);
  const { endpoint, token } = useStore(emulator);

  const save = async () => {
    if (!pod || (from === 'file' && !file)) return;
    onClose();
    const title = `Save ${pod}`;
    const upload = from === 'file' && file ? await send(file) : null;
    if (from === 'file' && !upload) return;
    const body = {
      pod,
      message,
      from: upload ? { path: upload.path } : { endpoint },
      ...(token && !upload ? { token } : {}),
      services: upload ? [] : services.split(/[\s,]+/).filter(Boolean),
      share,
      durable: false,
      consents: [],
      allow_secrets: false,
    };
    await act('/v1/teams/{team}/save', body, {
      title,
      team: team.name,
      done: (saved) => {
        const what = saved.unchanged
          ? `Nothing changed: ${saved.reference} holds this state`
          : `Saved ${saved.reference}, ${bytes(saved.state_len)}`;
        const left = saved.failed.length ? ` ${count(saved.failed.length, 'service')} could not be saved.` : '';
        return `${what}.${left}`;
      },
    });
    if (upload) void ask(`/files/${upload.id}`, { method: 'DELETE' }).catch(() => undefined);
  };

  return (
    <Dialog
      title="Save a state"
      onClose={onClose}
      onSubmit={() => void save()}
      buttons={
        <>
          <button type="button" onClick={onClose}>
            Cancel
          </button>
          <button class="primary" type="submit">
            {share ? 'Save and share' : 'Save'}
          </button>
        </>
      }
    >
      <fieldset class="segments">
        <legend>From</legend>
        {(['emulator', 'file'] as const).map((source) => (
          <label key={source}>
            <input
              type="radio"
              name="from"
              checked={from === source}
              onChange={() => setFrom(source)}
            />
            <span>{source === 'emulator' ? 'Running emulator' : 'File'}</span>
          </label>
        ))}
      </fieldset>
      <TextField label="Pod" value={pod} onValue={setPod} required list={pods} placeholder="orders" />
      <TextField label="Message" value={message} onValue={setMessage} placeholder="What this state is good for" />
      {from === 'emulator' ? (
        <>
          <EmulatorFields />
          <TextField
            label="Services"
            value={services}
            onValue={setServices}
            placeholder="All"
            hint="Names with commas between them, such as s3, sqs. Empty: all services."
          />
        </>
      ) : (
        <div class="field">
          <label for="save-file">File</label>
          <input
            id="save-file"
            type="file"
            accept=".snapshot,.zip"
            onChange={(event) => {
              const chosen = event.currentTarget.files?.[0] ?? null;
              setFile(chosen);
              if (chosen && !pod) setPod(podOf(chosen.name));
            }}
          />
          {file && (
            <p class="hint">
              {file.name}, {bytes(file.size)}
            </p>
          )}
        </div>
      )}
      {mayShare && <CheckField label={`Share it with ${team.name} at once`} checked={share} onChecked={setShare} />}
    </Dialog>
  );
}

/** Uploads the file to the daemon, which then saves it. */
async function send(file: File): Promise<{ id: string; path: string } | null> {
  try {
    const response = await ask('/files', {
      method: 'PUT',
      headers: { 'content-type': 'application/octet-stream' },
      body: file,
    });
    return (await response.json()) as { id: string; path: string };
  } catch (error) {
    const { told } = error instanceof CallError ? error : gone();
    notify({ tone: 'failed', text: told.message, hint: told.hint });
    return null;
  }
}

/** `orders-3.snapshot` is likely a version of `orders`. */
function podOf(name: string): string {
  const stem = name.replace(/\.(snapshot|zip)$/i, '').replace(/[^A-Za-z0-9._-]+/g, '-');
  return stem.replace(/[-_.]v?\d+$/, '').replace(/^[^A-Za-z0-9]+/, '').slice(0, 64);
}
