/** Teammates, their devices, and open invites. */
import { useMemo, useState } from 'preact/hooks';
import { InviteDialog } from '../acts/invite';
import type { Shapes } from '../api/call';
import { act } from '../state/acts';
import { useAnswer } from '../state/ask';
import { ask } from '../state/questions';
import { may, type TeamStatus } from '../state/teams';
import { useKeys } from '../state/usekeys';
import { bytes, count, short } from '../text';
import { Icon } from '../ui/icon';
import { Copy, Dot, Loading, Time, Trouble } from '../ui/parts';

type Member = Shapes['Member'];
type Peer = Shapes['Peer'];

export function Team({ team }: { team: TeamStatus }) {
  const members = useAnswer('/v1/teams/{team}/members', {}, { team: team.name });
  const peers = useAnswer('/v1/peers', {});
  const [inviting, setInviting] = useState(false);
  const admin = may(team, 'admin');
  const byDevice = useMemo(() => new Map(peers.data?.map((peer) => [peer.device, peer])), [peers.data]);
  useKeys({ i: () => admin && setInviting(true) });
  return (
    <div class="view">
      <header class="view-head">
        <h1>Team</h1>
        <span class="faint">
          {count(team.members, 'member')}, you are {team.role ?? 'not in it any more'}
        </span>
        <div class="grow" />
        {admin && (
          <button type="button" class="primary" onClick={() => setInviting(true)}>
            <Icon name="plus" /> Invite…
          </button>
        )}
      </header>
      {members.error && <Trouble error={members.error} again={members.again} />}
      {members.first && <Loading what="members" />}
      {members.data && <Members team={team} members={members.data} peers={byDevice} />}
      {team.members === 1 && (
        <p class="lead">Nobody else is here yet. Invite a teammate: what you share then reaches them by itself.</p>
      )}
      {admin && <Invites team={team} />}
      {team.quarantined.length > 0 && (
        <section>
          <h2>Ignored devices</h2>
          <p class="faint">They published contradicting versions. An admin removes them.</p>
          <ul>
            {team.quarantined.map((device) => (
              <li key={device} class="mono">
                {device}
              </li>
            ))}
          </ul>
        </section>
      )}
      <Leave team={team} />
      {inviting && <InviteDialog team={team} onClose={() => setInviting(false)} />}
    </div>
  );
}

function Members({ team, members, peers }: { team: TeamStatus; members: Member[]; peers: Map<string, Peer> }) {
  const admin = may(team, 'admin');
  return (
    <div class="table-box" tabIndex={0} role="region" aria-label="Members and their devices">
      <table class="members">
        <thead>
          <tr>
            <th scope="col">Member</th>
            <th scope="col" class="of-device">
              Device
            </th>
            <th scope="col">Role</th>
            <th scope="col">Contact</th>
            <th scope="col" class="number traffic">
              Round trip
            </th>
            <th scope="col" class="number traffic">
              Sent / received
            </th>
            {admin && (
              <th scope="col">
                <span class="hidden">Remove</span>
              </th>
            )}
          </tr>
        </thead>
        <tbody>
          {members.map((member) => (
            <MemberRow key={member.device} team={team} member={member} peer={peers.get(member.device)} admin={admin} />
          ))}
        </tbody>
      </table>
    </div>
  );
}

interface RowProps {
  team: TeamStatus;
  member: Member;
  peer: Peer | undefined;
  admin: boolean;
}

function MemberRow({ team, member, peer, admin }: RowProps) {
  const name = `${member.member}/${member.label}`;
  return (
    <tr>
      <th scope="row">
        {member.member}
        <wbr />
        <span class="label faint">/{member.label}</span>
      </th>
      <td class="of-device">
        <span class="device">
          {member.label} <span class="mono faint">{short(member.device)}</span>
          <Copy text={member.device} label={`Copy the id of ${name}`} />
        </span>
      </td>
      <td>
        {admin ? (
          <select
            aria-label={`Role of ${name}`}
            value={member.role}
            onChange={(event) => {
              const select = event.currentTarget;
              const role = select.value as Shapes['Role'];
              select.value = member.role;
              void setRole(team, member, role);
            }}
          >
            {(['reader', 'publisher', 'admin'] as const).map((role) => (
              <option key={role} value={role}>
                {role}
              </option>
            ))}
          </select>
        ) : (
          member.role
        )}
      </td>
      <td>
        {member.this_device ? (
          <span class="faint">this device</span>
        ) : (
          <>
            <Dot
              tone={member.connected ? 'good' : 'off'}
              label={member.connected ? 'connected' : 'not connected'}
            />{' '}
            <span class="contact">
              {member.connected ? 'connected' : peer?.heard_ms ? <Time ms={peer.heard_ms} /> : <span class="faint">offline</span>}
            </span>
          </>
        )}
      </td>
      <td class="number traffic">{peer?.round_trip_us ? `${(peer.round_trip_us / 1000).toFixed(1)} ms` : ''}</td>
      <td class="number traffic">{peer && (peer.sent || peer.received) ? `${bytes(peer.sent)} / ${bytes(peer.received)}` : ''}</td>
      {admin && (
        <td>
          {!member.this_device && (
            <button
              type="button"
              class="quiet icon-only danger-quiet"
              aria-label={`Remove ${name}`}
              title="Remove"
              onClick={() => void remove(team, member)}
            >
              <Icon name="trash" />
            </button>
          )}
        </td>
      )}
    </tr>
  );
}

function setRole(team: TeamStatus, member: Member, role: Shapes['Role']) {
  return act(
    '/v1/teams/{team}/role',
    { who: member.device, role, consents: [] },
    { title: `Make ${member.member} ${role}`, team: team.name, done: (now) => `${now.member} is ${now.role} now.` },
  );
}

async function remove(team: TeamStatus, member: Member) {
  const yes = await ask({
    kind: 'confirm',
    title: `Remove ${member.member}/${member.label}?`,
    message:
      `This device keeps what it downloaded before. It cannot read what ${team.name} shares from now on: the team gets a new key.\n\n` +
      'To come back it needs a new invite and a new home.',
    yes: 'Remove it',
    dangerous: true,
  });
  if (!yes) return;
  await act(
    '/v1/teams/{team}/remove',
    { who: member.device, consents: ['remove'] },
    {
      title: `Remove ${member.member}`,
      team: team.name,
      done: (removed) => `Removed ${count(removed.devices.length, 'device')} of ${member.member}.`,
    },
  );
}

function Invites({ team }: { team: TeamStatus }) {
  const { data } = useAnswer('/v1/teams/{team}/invites', {}, { team: team.name });
  if (!data?.length) return null;
  return (
    <section>
      <h2>Open invites</h2>
      <ul class="lines">
        {data.map((invite) => (
          <li key={invite.id}>
            <span>
              {invite.role}, by {invite.by}
            </span>
            <span class="faint">
              {invite.uses_left} of {invite.uses} left, ends <Time ms={invite.expires_ms} />
            </span>
            <button type="button" onClick={() => void revoke(team, invite)}>
              Revoke
            </button>
          </li>
        ))}
      </ul>
    </section>
  );
}

function revoke(team: TeamStatus, invite: Shapes['OpenInvite']) {
  return act(
    '/v1/teams/{team}/invites/revoke',
    { invite: invite.id },
    { title: 'Revoke an invite', team: team.name, done: () => 'Nobody can join with that ticket any more.' },
  );
}

function Leave({ team }: { team: TeamStatus }) {
  if (!team.role) return null;
  const leave = () =>
    act(
      '/v1/teams/{team}/leave',
      { consents: [] },
      { title: `Leave ${team.name}`, team: team.name, done: (left) => `This device has left ${left.name}.` },
    );
  return (
    <section class="leave">
      <button type="button" class="danger-quiet" onClick={() => void leave()}>
        Leave {team.name}…
      </button>
    </section>
  );
}
