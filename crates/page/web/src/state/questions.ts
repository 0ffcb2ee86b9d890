/** What the page asks its user; a dialog shows one at a time. */
import type { Shapes } from '../api/call';
import { store } from './store';

export type Question =
  | { kind: 'consent'; consent: Shapes['Consent']; message: string }
  | { kind: 'choice'; message: string; choices: string[] }
  /** A secret that is shown once. The dialog stays when the view that asked for it is left. */
  | { kind: 'secret'; title: string; message: string; secret: string; label: string }
  | { kind: 'confirm'; title: string; message: string; yes: string; dangerous?: boolean };

export interface Asked {
  question: Question;
  answer: (answer: boolean | string) => void;
}

export const questions = store<readonly Asked[]>([]);

/** Resolves to `false` for no, or to the chosen version if there was a choice. */
export function ask(question: Question): Promise<boolean | string> {
  return new Promise((done) => {
    const asked: Asked = {
      question,
      answer: (answer) => {
        questions.update((open) => open.filter((other) => other !== asked));
        done(answer);
      },
    };
    questions.update((open) => [...open, asked]);
  });
}
