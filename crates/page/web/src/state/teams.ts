/** The teams, and the one that is shown. */
import { useEffect } from 'preact/hooks';
import type { Shapes } from '../api/call';
import { onlyTeamIs, useAnswer } from './ask';
import { go, route } from './route';
import { useStore } from './store';

export type Status = Shapes['Status'];
export type TeamStatus = Shapes['TeamStatus'];

export function useStatus() {
  return useAnswer('/v1/status', {});
}

/** The team in the URL, or the first team if the URL names none that exists. */
export function useTeam(status: Status | null): TeamStatus | null {
  const { team, view } = useStore(route);
  if (status?.teams.length === 1) onlyTeamIs(status.teams[0]?.name ?? '-');
  const found = status?.teams.find(({ name }) => name === team) ?? status?.teams[0] ?? null;
  useEffect(() => {
    if (found && found.name !== team) go({ team: found.name, view }, { replace: true });
  }, [found?.name, team]);
  return found;
}

/** Whether this device has at least this role. */
export function may(team: TeamStatus, role: Shapes['Role']): boolean {
  const order: Shapes['Role'][] = ['reader', 'publisher', 'admin'];
  return team.role != null && order.indexOf(team.role) >= order.indexOf(role);
}
