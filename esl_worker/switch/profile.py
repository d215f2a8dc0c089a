"""Who calls whom: the caller profile, and the variables of an inbound SIP call.

Names, order and form of the headers are those of the captures of FreeSWITCH 1.10.12.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime

_HOST = "127.0.0.1"
_SIP_PORT = 5060
_session_ids = itertools.count(1)


@dataclass(slots=True)
class Times:
    """When things happened to a channel, in microseconds since 1970; 0 means not yet."""

    created: int
    profile_created: int
    answered: int = 0
    progress_media: int = 0
    hangup: int = 0
    bridged: int = 0


@dataclass(slots=True)
class Profile:
    """What a channel knows of its caller and of the number dialled."""

    uuid: str
    caller_number: str
    caller_name: str
    destination: str
    context: str
    channel_name: str
    direction: str = "inbound"
    source: str = "mod_sofia"
    rdnis: str = ""
    transfer_source: str = ""
    callee_name: str = ""
    callee_number: str = ""
    index: int = 1

    def transferred(self, destination: str, context: str, source: str) -> Profile:
        """The profile after a blind transfer to another extension."""
        return replace(
            self,
            destination=destination,
            context=context,
            rdnis=self.destination,
            transfer_source=source,
            index=self.index + 1,
        )

    def headers(self, prefix: str, times: Times) -> list[tuple[str, str]]:
        """The headers `prefix`-Direction and so on, in FreeSWITCH's order.

        Args:
            prefix: "Caller", "Channel" (connect answer) or "Other-Leg" (of a bridge).
            times: of the channel that this profile belongs to.
        """
        callee = []
        if self.callee_number:
            callee = [
                ("Callee-ID-Name", self.callee_name),
                ("Callee-ID-Number", self.callee_number),
            ]
        fields = [
            ("Direction", self.direction),
            ("Logical-Direction", "inbound"),
            ("Username", self.caller_number),
            ("Dialplan", "XML"),
            ("Caller-ID-Name", self.caller_name),
            ("Caller-ID-Number", self.caller_number),
            ("Orig-Caller-ID-Name", self.caller_name),
            ("Orig-Caller-ID-Number", self.caller_number),
            *callee,
            ("Network-Addr", _HOST),
            ("ANI", self.caller_number),
            ("Destination-Number", self.destination),
            ("Unique-ID", self.uuid),
            ("Source", self.source),
            *([("Transfer-Source", self.transfer_source)] if self.transfer_source else []),
            ("Context", self.context),
            *([("RDNIS", self.rdnis)] if self.rdnis else []),
            ("Channel-Name", self.channel_name),
            *([("Profile-Index", str(self.index))] if prefix != "Other-Leg" else []),
            ("Profile-Created-Time", str(times.profile_created)),
            ("Channel-Created-Time", str(times.created)),
            ("Channel-Answered-Time", str(times.answered)),
            ("Channel-Progress-Time", "0"),
            ("Channel-Progress-Media-Time", str(times.progress_media)),
            ("Channel-Hangup-Time", str(times.hangup)),
            ("Channel-Transfer-Time", "0"),
            ("Channel-Resurrect-Time", "0"),
            ("Channel-Bridged-Time", str(times.bridged)),
            ("Channel-Last-Hold", "0"),
            ("Channel-Hold-Accum", "0"),
            ("Screen-Bit", "true"),
            ("Privacy-Hide-Name", "false"),
            ("Privacy-Hide-Number", "false"),
        ]
        return [(f"{prefix}-{name}", value) for name, value in fields]

    def field(self, name: str) -> str | None:
        """The profile field that ``${name}`` means when no variable of that name is set."""
        match name:
            case "caller_id_number" | "username" | "ani":
                return self.caller_number
            case "caller_id_name":
                return self.caller_name
            case "destination_number":
                return self.destination
            case "uuid" | "context" | "source" | "rdnis" | "direction":
                return str(getattr(self, name)) or None
            case _:
                return None


def sip_variables(profile: Profile, created_us: int) -> dict[str, str]:
    """The variables that mod_sofia sets on an inbound call before the dialplan runs."""
    number, dialled, uuid = profile.caller_number, profile.destination, profile.uuid
    name = profile.caller_name
    session_id = next(_session_ids)
    tag = uuid[:13].replace("-", "")
    media_port = 16384 + 2 * (session_id % 8000)
    contact = f"mod_sofia@{_HOST}:{_SIP_PORT}"
    to = f"<sip:{dialled}@{_HOST}:{_SIP_PORT}>"
    sdp = (
        f"v=0\r\no=FreeSWITCH {session_id} {session_id} IN IP4 {_HOST}\r\ns=FreeSWITCH\r\n"
        f"c=IN IP4 {_HOST}\r\nt=0 0\r\nm=audio {media_port} RTP/AVP 0 8 101 13\r\n"
        "a=rtpmap:0 PCMU/8000\r\na=rtpmap:8 PCMA/8000\r\na=rtpmap:101 telephone-event/8000\r\n"
        "a=fmtp:101 0-15\r\na=rtpmap:13 CN/8000\r\na=ptime:20\r\n"
    )
    return {
        "direction": profile.direction,
        "uuid": uuid,
        "session_id": str(session_id),
        "sip_from_user": number,
        "sip_from_uri": f"{number}@{_HOST}",
        "sip_from_host": _HOST,
        "video_media_flow": "disabled",
        "text_media_flow": "disabled",
        "channel_name": profile.channel_name,
        "sip_call_id": uuid,
        "sip_local_network_addr": _HOST,
        "sip_network_ip": _HOST,
        "sip_network_port": str(_SIP_PORT),
        "sip_invite_stamp": str(created_us),
        "sip_received_ip": _HOST,
        "sip_received_port": str(_SIP_PORT),
        "sip_via_protocol": "udp",
        "sip_from_user_stripped": number,
        "sip_from_tag": tag,
        "sofia_profile_name": "embedded",
        "sofia_profile_url": f"sip:{contact}",
        "recovery_profile_name": "embedded",
        "sip_Remote-Party-ID": (
            f'"{name}" <sip:{number}@{_HOST}>;party=calling;screen=yes;privacy=off'
        ),
        "sip_cid_type": "rpid",
        "sip_full_via": f"SIP/2.0/UDP {_HOST}:{_SIP_PORT};rport={_SIP_PORT};branch=z9hG4bK{tag}",
        "sip_from_display": name,
        "sip_full_from": f'"{name}" <sip:{number}@{_HOST}>;tag={tag}',
        "sip_full_to": to,
        "sip_allow": (
            "INVITE, ACK, BYE, CANCEL, OPTIONS, MESSAGE, INFO, UPDATE, REGISTER, REFER, NOTIFY"
        ),
        "sip_req_user": dialled,
        "sip_req_port": str(_SIP_PORT),
        "sip_req_uri": f"{dialled}@{_HOST}:{_SIP_PORT}",
        "sip_req_host": _HOST,
        "sip_to_user": dialled,
        "sip_to_port": str(_SIP_PORT),
        "sip_to_uri": f"{dialled}@{_HOST}:{_SIP_PORT}",
        "sip_to_host": _HOST,
        "sip_contact_user": "mod_sofia",
        "sip_contact_port": str(_SIP_PORT),
        "sip_contact_uri": contact,
        "sip_contact_host": _HOST,
        "sip_user_agent": "callflows-embedded-switch",
        "sip_via_host": _HOST,
        "sip_via_port": str(_SIP_PORT),
        "sip_via_rport": str(_SIP_PORT),
        "max_forwards": "70",
        "switch_r_sdp": sdp,
        "ep_codec_string": (
            "CORE_PCM_MODULE.PCMU@8000h@20i@64000b,CORE_PCM_MODULE.PCMA@8000h@20i@64000b"
        ),
        "rtp_use_codec_string": "PCMU,PCMA",
        "remote_video_media_flow": "inactive",
        "remote_text_media_flow": "inactive",
        "remote_audio_media_flow": "sendrecv",
        "audio_media_flow": "sendrecv",
        "remote_media_ip": _HOST,
        "remote_media_port": str(media_port),
        "rtp_audio_recv_pt": "0",
        "rtp_use_codec_name": "PCMU",
        "rtp_use_codec_rate": "8000",
        "rtp_use_codec_ptime": "20",
        "rtp_use_codec_channels": "1",
        "rtp_last_audio_codec_string": "PCMU@8000h@20i@1c",
        "read_codec": "PCMU",
        "original_read_codec": "PCMU",
        "read_rate": "8000",
        "original_read_rate": "8000",
        "write_codec": "PCMU",
        "write_rate": "8000",
        "dtmf_type": "rfc2833",
        "endpoint_disposition": "RECEIVED",
        "DP_MATCH": f"ARRAY::{dialled}|:{dialled[2:]}",
        "call_uuid": uuid,
    }


def media_variables(local_port: int) -> dict[str, str]:
    """The variables that appear once audio flows (early media or answer)."""
    sdp = (
        f"v=0\r\no=FreeSWITCH 1 2 IN IP4 {_HOST}\r\ns=FreeSWITCH\r\nc=IN IP4 {_HOST}\r\n"
        f"t=0 0\r\nm=audio {local_port} RTP/AVP 0 101 13\r\na=rtpmap:0 PCMU/8000\r\n"
        "a=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-15\r\na=rtpmap:13 CN/8000\r\n"
        "a=ptime:20\r\na=sendrecv\r\n"
    )
    return {
        "rtp_local_sdp_str": sdp,
        "local_media_ip": _HOST,
        "local_media_port": str(local_port),
        "advertised_media_ip": _HOST,
        "rtp_use_timer_name": "soft",
        "rtp_use_pt": "0",
        "rtp_use_ssrc": str(2_500_000_000 + local_port),
        "rtp_2833_send_payload": "101",
        "rtp_2833_recv_payload": "101",
    }


def acknowledged(variables: Mapping[str, str]) -> dict[str, str]:
    """What mod_sofia sets, partly once more, when the caller's ACK comes after the answer."""
    to = variables.get("sip_full_to", "")
    again = (
        "sip_to_tag",
        "sip_from_tag",
        "sip_cseq",
        "sip_call_id",
        "sip_full_via",
        "sip_from_display",
        "sip_full_from",
        "sip_full_to",
    )
    fresh = {"sip_to_tag": "embedded", "sip_cseq": "1", "sip_full_to": f"{to};tag=embedded"}
    return {name: fresh.get(name) or variables.get(name, "") for name in again}


def closing_variables(
    times: Times, profile: Profile, digits: str, last_app: str, last_arg: str | None
) -> dict[str, str]:
    """The variables of CHANNEL_HANGUP_COMPLETE: stamps, durations, RTP counts.

    Args:
        times: of the channel; `hangup` must be set.
        profile: the caller.
        digits: the keys pressed, without the sensitive ones.
        last_app: the application that ran last, with its argument `last_arg`.
    """
    end = times.hangup
    marks = {
        "start": times.created,
        "profile_start": times.profile_created,
        "answer": times.answered,
        "bridge": times.bridged,
    }
    out = {"digits_dialed": digits or "none"}
    stamped = {**marks, "progress_media": times.progress_media, "end": end}
    for name, at in stamped.items():
        if at:
            out[f"{name}_stamp"] = stamp(at)
    for name, at in marks.items():
        out[f"{name}_epoch"] = str(at // 1_000_000)
        out[f"{name}_uepoch"] = str(at)
    out.update(
        last_hold_epoch="0",
        last_hold_uepoch="0",
        hold_accum_seconds="0",
        hold_accum_usec="0",
        hold_accum_ms="0",
        resurrect_epoch="0",
        resurrect_uepoch="0",
        progress_epoch="0",
        progress_uepoch="0",
        progress_media_epoch=str(times.progress_media // 1_000_000),
        progress_media_uepoch=str(times.progress_media),
        end_epoch=str(end // 1_000_000),
        end_uepoch=str(end),
    )
    if last_app:
        out["last_app"] = last_app
        if last_arg is not None:
            out["last_arg"] = last_arg
    out["caller_id"] = f'"{profile.caller_name}" <{profile.caller_number}>'
    spans = {
        "duration": end - times.created,
        "bill": end - times.answered if times.answered else 0,
        "progress": 0,
        "answer": times.answered - times.created if times.answered else 0,
        "wait": times.bridged - times.created if times.bridged else 0,
        "progress_media": times.progress_media - times.created if times.progress_media else 0,
        "flow_bill": end - times.created,
    }
    for unit, divisor in (("sec", 1_000_000), ("msec", 1000), ("usec", 1)):
        for name, span in spans.items():
            if name == "duration":
                name = {"sec": "duration", "msec": "mduration", "usec": "uduration"}[unit]
                out[name] = str(span // divisor)
            else:
                out[f"{name}{unit}"] = str(span // divisor)
    if times.answered or times.progress_media:
        out.update(_rtp_counts(end - times.created))
    return out


def _rtp_counts(microseconds: int) -> dict[str, str]:
    packets = microseconds // 20_000
    audio = str(packets * 172)
    zero_in = ("jitter", "dtmf", "cng", "flush")
    out = {
        "rtp_audio_in_raw_bytes": audio,
        "rtp_audio_in_media_bytes": audio,
        "rtp_audio_in_packet_count": str(packets),
        "rtp_audio_in_media_packet_count": str(packets),
        "rtp_audio_in_skip_packet_count": "0",
        **{f"rtp_audio_in_{what}_packet_count": "0" for what in zero_in},
        "rtp_audio_in_largest_jb_size": "0",
        "rtp_audio_in_jitter_min_variance": "0.00",
        "rtp_audio_in_jitter_max_variance": "0.00",
        "rtp_audio_in_jitter_loss_rate": "0.00",
        "rtp_audio_in_jitter_burst_rate": "0.00",
        "rtp_audio_in_mean_interval": "20.00",
        "rtp_audio_in_flaw_total": "0",
        "rtp_audio_in_quality_percentage": "100.00",
        "rtp_audio_in_mos": "4.50",
        "rtp_audio_out_raw_bytes": audio,
        "rtp_audio_out_media_bytes": audio,
        "rtp_audio_out_packet_count": str(packets),
        "rtp_audio_out_media_packet_count": str(packets),
    }
    for what in ("out_skip_packet", "out_dtmf_packet", "out_cng_packet", "rtcp_packet"):
        out[f"rtp_audio_{what}_count"] = "0"
    out["rtp_audio_rtcp_octet_count"] = "0"
    return out


def stamp(microseconds: int) -> str:
    """A time as FreeSWITCH writes it in `…_stamp` variables (here always UTC)."""
    return datetime.fromtimestamp(microseconds / 1e6, UTC).strftime("%Y-%m-%d %H:%M:%S")
