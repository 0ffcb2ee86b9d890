import { lettersOn } from '../state/keys';
import { useStore } from '../state/store';
import { Dialog } from '../ui/dialog';
import { CheckField } from '../ui/parts';

const KEYS: [string, string][] = [
  ['1 – 5', 'Pods, activity, team, storage, machine'],
  ['/', 'Filter the list'],
  ['↑ ↓ or k j', 'Move in a list; Home, End, Page keys too'],
  ['Enter', 'Open what is selected'],
  ['s', 'Save a state'],
  ['l', 'Load the selected version'],
  ['p', 'Pull the selected version'],
  ['d', 'Compare the selected version'],
  ['i', 'Invite a teammate (in Team)'],
  ['Esc', 'Close a dialog'],
  ['?', 'This page'],
];

export function Help({ onClose }: { onClose: () => void }) {
  const on = useStore(lettersOn);
  return (
    <Dialog title="Keys" onClose={onClose}>
      <dl class="keys">
        {KEYS.map(([key, what]) => (
          <div key={key}>
            <dt>
              <kbd>{key}</kbd>
            </dt>
            <dd>{what}</dd>
          </div>
        ))}
      </dl>
      <CheckField label="Single letters and digits act" checked={on} onChecked={lettersOn.set} />
      <p class="faint">
        All that this page does, the command <code>podsync</code> does too. Nothing on this page comes from, or goes to,
        another computer than your teammates' and your team's bucket.
      </p>
    </Dialog>
  );
}
