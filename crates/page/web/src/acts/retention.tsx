/** Setting a retention rule. First shows which versions it would drop. */
import { useEffect, useState } from 'preact/hooks';
import { call, CallError, gone, type Shapes } from '../api/call';
import { act } from '../state/acts';
import { useAnswer } from '../state/ask';
import type { TeamStatus } from '../state/teams';
import { count, DAY_S } from '../text';
import { Dialog } from '../ui/dialog';
import { CheckField, SelectField, TextField, Trouble } from '../ui/parts';
import { DueList } from '../views/storage';

export function RetentionDialog({ team, onClose }: { team: TeamStatus; onClose: () => void }) {
  const pods = useAnswer('/v1/teams/{team}/pods', {}, { team: team.name, live: false });
  const [pod, setPod] = useState('');
  const [kind, setKind] = useState<'policy' | 'keep_all' | 'unset'>('policy');
  const [last, setLast] = useState('10');
  const [daily, setDaily] = useState('30');
  const [tagged, setTagged] = useState(true);
  const [due, setDue] = useState<Shapes['Due'][] | null>(null);
  const [error, setError] = useState<CallError | null>(null);
  const number = (text: string) => (/^\d+$/.test(text.trim()) ? Number(text) : null);
  const rule: Shapes['Rule'] =
    kind === 'policy' ? { policy: { last: number(last), daily: number(daily), tagged, grace_s: DAY_S } } : kind;
  const said = JSON.stringify([pod, rule]);
  useEffect(() => {
    const stop = new AbortController();
    setDue(null);
    setError(null);
    const body = { pod: pod || null, rule, dry_run: true, consents: [] };
    call('/v1/teams/{team}/retention/set', body, { team: team.name, signal: stop.signal })
      .then((answer) => setDue(answer.due))
      .catch((error: unknown) => {
        if (!stop.signal.aborted) setError(error instanceof CallError ? error : gone());
      });
    return () => stop.abort();
  }, [said]);
  const set = async () => {
    onClose();
    await act(
      '/v1/teams/{team}/retention/set',
      { pod: pod || null, rule, dry_run: false, consents: [] },
      { title: 'Set a retention rule', team: team.name, done: () => 'The rule is set.' },
    );
  };
  return (
    <Dialog
      title="Which versions to keep"
      onClose={onClose}
      onSubmit={() => void set()}
      buttons={
        <>
          <button type="button" onClick={onClose}>
            Cancel
          </button>
          <button class="primary" type="submit" disabled={error !== null}>
            Set the rule
          </button>
        </>
      }
    >
      <SelectField
        label="For"
        value={pod}
        choices={[['', 'All pods without a rule of their own'], ...(pods.data ?? []).map(({ name }) => [name, name] as const)]}
        onValue={setPod}
      />
      <SelectField
        label="Keep"
        value={kind}
        choices={[
          ['policy', 'Some versions'],
          ['keep_all', 'All versions'],
          ['unset', 'What is said for the others'],
        ]}
        onValue={setKind}
      />
      {kind === 'policy' && (
        <>
          <TextField label="The newest" value={last} onValue={setLast} hint="So many versions, whatever their age." />
          <TextField label="Of each day the newest" value={daily} onValue={setDaily} hint="For so many days with versions." />
          <CheckField label="Versions with a tag" checked={tagged} onChecked={setTagged} />
          <p class="hint">Versions of the last day always stay.</p>
        </>
      )}
      <div aria-live="polite">
        {error && <Trouble error={error} />}
        {due?.length === 0 && <p>This rule lets go of nothing now.</p>}
        {due && due.length > 0 && (
          <>
            <h3>This rule would let go of {count(due.length, 'version')}</h3>
            <DueList due={due} />
          </>
        )}
      </div>
    </Dialog>
  );
}
