/** Dialogs for the daemon's questions: for consent, and for the choice among several versions. */
import type { Shapes } from '../api/call';
import { type Asked, questions } from '../state/questions';
import { useStore } from '../state/store';
import { Dialog } from '../ui/dialog';
import { Copy } from '../ui/parts';
import { Words } from '../ui/words';

const CONSENTS: Record<Shapes['Consent'], { title: string; yes: string; dangerous?: boolean }> = {
  remote: { title: 'Load into another machine?', yes: 'Load there' },
  'new-signer': { title: 'Load something by a new author?', yes: 'Trust and load' },
  'without-checkpoint': { title: 'Load without a checkpoint?', yes: 'Load without', dangerous: true },
  'only-copies': { title: 'Delete the only copies?', yes: 'Delete them', dangerous: true },
  'last-admin': { title: 'Leave the team without an admin?', yes: 'Leave it without', dangerous: true },
  'same-name': { title: 'Create a second team with this name?', yes: 'Create it' },
  'not-exact': { title: 'Drop this version?', yes: 'Drop it', dangerous: true },
  'let-go': { title: 'Set this rule?', yes: 'Set the rule', dangerous: true },
  leave: { title: 'Leave the team?', yes: 'Leave', dangerous: true },
  remove: { title: 'Remove these devices?', yes: 'Remove', dangerous: true },
  'older-state': { title: 'Share an older state?', yes: 'Share it' },
  'empty-state': { title: 'Save an empty state?', yes: 'Save it' },
};

export function Questions() {
  const [asked] = useStore(questions);
  return asked ? <Ask key={JSON.stringify(asked.question)} asked={asked} /> : null;
}

function Ask({ asked: { question, answer } }: { asked: Asked }) {
  if (question.kind === 'choice') {
    return (
      <Dialog title="Which version?" onClose={() => answer(false)}>
        <p>{question.message}</p>
        <ul class="choices">
          {question.choices.map((choice) => (
            <li key={choice}>
              <button type="button" class="mono" onClick={() => answer(choice)}>
                {choice}
              </button>
            </li>
          ))}
        </ul>
      </Dialog>
    );
  }
  if (question.kind === 'secret') {
    return (
      <Dialog
        title={question.title}
        onClose={() => answer(true)}
        buttons={
          <button type="button" class="primary" onClick={() => answer(true)}>
            I have kept it
          </button>
        }
      >
        <p>{question.message}</p>
        <p class="secret">
          <code tabIndex={0}>{question.secret}</code>
          <Copy text={question.secret} label={question.label} />
        </p>
      </Dialog>
    );
  }
  const { title, yes, dangerous } =
    question.kind === 'confirm' ? question : (CONSENTS[question.consent] ?? { title: 'Go on?', yes: 'Go on' });
  return (
    <Dialog
      title={title}
      onClose={() => answer(false)}
      buttons={
        <>
          <button type="button" onClick={() => answer(false)}>
            Cancel
          </button>
          <button type="button" class={dangerous ? 'danger' : 'primary'} onClick={() => answer(true)}>
            {yes}
          </button>
        </>
      }
    >
      <p class="pre">
        <Words text={question.message} />
      </p>
    </Dialog>
  );
}
