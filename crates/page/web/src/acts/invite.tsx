/** Inviting: the user first chooses what the ticket allows. Then the ticket is shown, once. */
import { useState } from 'preact/hooks';
import { type Answer, CallError, gone, type Shapes } from '../api/call';
import { carryOut, Stopped } from '../state/acts';
import { changed } from '../state/ask';
import type { TeamStatus } from '../state/teams';
import { count, when } from '../text';
import { Dialog } from '../ui/dialog';
import { Copy, SelectField, Trouble } from '../ui/parts';
import { Qr } from '../ui/qr';

const ROLES = [
  ['publisher', 'Publisher: reads and shares'],
  ['reader', 'Reader: reads'],
  ['admin', 'Admin: reads, shares, invites and removes'],
] as const satisfies readonly (readonly [Shapes['Role'], string])[];
const LIVES = [
  ['3600', '1 hour'],
  ['86400', '1 day'],
  ['604800', '7 days'],
] as const;
const USES = [
  ['1', 'one device'],
  ['5', '5 devices'],
  ['25', '25 devices'],
] as const;

export function InviteDialog({ team, onClose }: { team: TeamStatus; onClose: () => void }) {
  const [role, setRole] = useState<Shapes['Role']>('publisher');
  const [life, setLife] = useState<(typeof LIVES)[number][0]>('86400');
  const [uses, setUses] = useState<(typeof USES)[number][0]>('1');
  const [invited, setInvited] = useState<Answer<'/v1/teams/{team}/invite'> | null>(null);
  const [error, setError] = useState<CallError | null>(null);
  const invite = async () => {
    setError(null);
    try {
      const body = { role, expires_s: Number(life), uses: Number(uses) };
      setInvited(await carryOut('/v1/teams/{team}/invite', body, 'Invite a teammate', team.name));
      changed();
    } catch (error) {
      if (!(error instanceof Stopped)) setError(error instanceof CallError ? error : gone());
    }
  };
  if (invited) {
    return (
      <Dialog
        wide
        title="The ticket"
        onClose={onClose}
        buttons={
          <button type="button" class="primary" onClick={onClose}>
            Done
          </button>
        }
      >
        <p>
          Send it to your teammate by a way that you both trust. Whoever has it can join as a {invited.role}:{' '}
          {count(invited.uses, 'device')}, until {when(invited.expires_ms)}. This page does not show it again.
        </p>
        <div class="ticket">
          <Qr text={invited.ticket} label="The ticket as a QR code" />
          <div>
            <p class="secret">
              <code tabIndex={0}>{invited.ticket}</code>
              <Copy text={invited.ticket} label="Copy the ticket" />
            </p>
            <p class="faint">
              They run <code>podsync team join</code> and paste it.
            </p>
          </div>
        </div>
      </Dialog>
    );
  }
  return (
    <Dialog
      title={`Invite somebody to ${team.name}`}
      onClose={onClose}
      onSubmit={() => void invite()}
      buttons={
        <>
          <button type="button" onClick={onClose}>
            Cancel
          </button>
          <button class="primary" type="submit">
            Make a ticket
          </button>
        </>
      }
    >
      <SelectField label="Role" value={role} choices={ROLES} onValue={setRole} />
      <SelectField label="Good for" value={life} choices={LIVES} onValue={setLife} />
      <SelectField label="Good for how many" value={uses} choices={USES} onValue={setUses} />
      {error && <Trouble error={error} />}
    </Dialog>
  );
}
