/** The view of a home without a team: create one, or join one. */
import { useState } from 'preact/hooks';
import { carryOut, notify, Stopped } from '../state/acts';
import { changed } from '../state/ask';
import { CallError, gone } from '../api/call';
import { ask } from '../state/questions';
import { TextField, Trouble } from '../ui/parts';

export function Begin() {
  return (
    <div class="view">
      <header class="view-head">
        <h1>Welcome to podsync</h1>
      </header>
      <p class="lead">
        A team shares the states of its AWS emulators from device to device. Found one, or join one with a ticket from a
        teammate.
      </p>
      <div class="two">
        <Found />
        <JoinTeam />
      </div>
    </div>
  );
}

function useForm(send: () => Promise<void>) {
  const [error, setError] = useState<CallError | null>(null);
  const [busy, setBusy] = useState(false);
  const submit = async (event: Event) => {
    event.preventDefault();
    setBusy(true);
    setError(null);
    try {
      await send();
    } catch (error) {
      if (!(error instanceof Stopped)) setError(error instanceof CallError ? error : gone());
    } finally {
      setBusy(false);
    }
  };
  return { error, busy, submit };
}

function Found() {
  const [name, setName] = useState('');
  const [member, setMember] = useState('');
  const [label, setLabel] = useState('laptop');
  const { error, busy, submit } = useForm(async () => {
    const body = { name, member, label, consents: [] };
    const founded = await carryOut('/v1/teams/create', body, `Found ${name}`, '-');
    await ask({
      kind: 'secret',
      title: 'Keep the recovery key',
      message: 'It makes an admin where none is left. podsync shows it this once and keeps it nowhere.',
      secret: founded.recovery_key,
      label: 'Copy the recovery key',
    });
    changed();
  });
  return (
    <form class="card" onSubmit={submit}>
      <h2>Found a team</h2>
      <TextField label="Team" value={name} onValue={setName} required placeholder="payments" />
      <TextField label="Your name in it" value={member} onValue={setMember} required placeholder="alice" />
      <TextField label="This device" value={label} onValue={setLabel} required />
      {error && <Trouble error={error} />}
      <button class="primary" disabled={busy}>
        Found the team
      </button>
    </form>
  );
}

function JoinTeam() {
  const [ticket, setTicket] = useState('');
  const [member, setMember] = useState('');
  const [label, setLabel] = useState('laptop');
  const { error, busy, submit } = useForm(async () => {
    const joined = await carryOut('/v1/teams/join', { ticket: ticket.trim(), member, label }, 'Join a team', '-');
    notify({ tone: 'done', text: `You are in ${joined.name} as a ${joined.role}.` });
    changed();
  });
  return (
    <form class="card" onSubmit={submit}>
      <h2>Join a team</h2>
      <TextField
        label="Ticket"
        value={ticket}
        onValue={setTicket}
        required
        hint="A teammate makes one in Team, or with podsync team invite."
      />
      <TextField label="Your name in it" value={member} onValue={setMember} required placeholder="bob" />
      <TextField label="This device" value={label} onValue={setLabel} required />
      {error && <Trouble error={error} />}
      <button class="primary" disabled={busy}>
        Join
      </button>
    </form>
  );
}
