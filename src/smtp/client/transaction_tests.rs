use super::*;
use crate::mail::outgoing::DeliverBy;

fn address(text: &str) -> Address {
    Address::parse(text).unwrap()
}

fn transaction() -> Transaction {
    Transaction {
        envelope: Envelope {
            sender: Some(address("ann@us.example")),
            ..Envelope::default()
        },
        recipients: Vec::new(),
        size: 100,
        survey: Survey::default(),
        convertible: false,
        now: 1000,
    }
}

fn to(text: &str) -> To {
    To {
        address: address(text),
        notify: Notify::default(),
        original: None,
    }
}

fn all() -> Capabilities {
    let lines = [
        "mx",
        "SIZE 1000",
        "8BITMIME",
        "CHUNKING",
        "BINARYMIME",
        "SMTPUTF8",
        "DSN",
        "REQUIRETLS",
        "MT-PRIORITY",
        "DELIVERBY 10",
    ];
    Capabilities::parse(&lines.map(str::to_owned))
}

fn mail(transaction: &Transaction, server: &Capabilities) -> String {
    let form = transaction.form(server).unwrap();
    String::from_utf8(transaction.mail(server, form)).unwrap()
}

#[test]
fn every_parameter_is_said_where_it_is_known_and_nowhere_else() {
    let mut it = transaction();
    it.envelope = Envelope {
        smtputf8: true,
        body: Body::EightBitMime,
        envelope_id: Some("a+b=ü".into()),
        ret: Some(Ret::Headers),
        require_tls: true,
        priority: -3,
        deliver_by: Some(DeliverBy {
            until: 1060,
            returns: false,
            trace: true,
        }),
        ..it.envelope
    };
    it.survey.eight_bit = true;
    assert_eq!(
        mail(&it, &all()),
        "MAIL FROM:<ann@us.example> SIZE=100 BODY=8BITMIME SMTPUTF8 REQUIRETLS MT-PRIORITY=-3 \
         BY=60;NT RET=HDRS ENVID=a+2Bb+3D+C3+BC\r\n"
    );
    it.envelope.require_tls = false;
    it.survey.eight_bit = false;
    assert_eq!(
        mail(&it, &Capabilities::default()),
        "MAIL FROM:<ann@us.example>\r\n"
    );
    it.envelope.sender = None;
    // Of notices REQUIRETLS is said where it can be, and loses none (RFC 8689, 5).
    it.envelope.require_tls = true;
    assert_eq!(mail(&it, &Capabilities::default()), "MAIL FROM:<>\r\n");
    assert!(mail(&it, &all()).contains(" REQUIRETLS "));
    // RFC 6710, 4.2: no priority is said too.
    it.envelope.priority = 0;
    assert!(mail(&it, &all()).contains(" MT-PRIORITY=0 "));
}

#[test]
fn recipients_carry_their_dsn() {
    let it = transaction();
    let rcpt =
        |to: &To, server: &Capabilities| String::from_utf8(it.rcpt(to, server).unwrap()).unwrap();
    let mut bob = to("\"b b\"@x.example");
    bob.original = Some("rfc822;Bob+x@y.example".into());
    assert_eq!(
        rcpt(&bob, &all()),
        "RCPT TO:<\"b b\"@x.example> ORCPT=rfc822;Bob+2Bx@y.example\r\n"
    );
    bob.notify = Notify {
        success: true,
        failure: false,
        delay: true,
        given: true,
    };
    assert!(rcpt(&bob, &all()).contains(" NOTIFY=SUCCESS,DELAY "));
    bob.notify = Notify {
        success: false,
        failure: false,
        delay: false,
        given: true,
    };
    assert!(rcpt(&bob, &all()).contains(" NOTIFY=NEVER "));
    bob.original = Some("UTF-8;böb\\+@y.example".into());
    let told = " ORCPT=UTF-8;b\\x{F6}b\\x{5C}\\x{2B}@y.example\r\n";
    assert!(rcpt(&bob, &all()).ends_with(told));
    assert_eq!(
        rcpt(&bob, &Capabilities::default()),
        "RCPT TO:<\"b b\"@x.example>\r\n"
    );
}

/// RFC 2852, 4.1.4.2.
#[test]
fn a_server_that_keeps_no_time_is_asked_to_tell_of_a_delay() {
    let mut it = transaction();
    it.envelope.deliver_by = Some(DeliverBy {
        until: 1060,
        returns: false,
        trace: false,
    });
    let mut server = all();
    let mut bob = to("bob@x.example");
    let rcpt = |it: &Transaction, to: &To, server: &Capabilities| {
        let line = it.rcpt(to, server).unwrap();
        String::from_utf8(line).unwrap()
    };
    assert!(!rcpt(&it, &bob, &server).contains("NOTIFY"));
    server.deliver_by = None;
    assert!(rcpt(&it, &bob, &server).ends_with(" NOTIFY=FAILURE,DELAY\r\n"));
    let given = |success| Notify {
        success,
        failure: false,
        delay: false,
        given: true,
    };
    bob.notify = given(true);
    assert!(rcpt(&it, &bob, &server).ends_with(" NOTIFY=SUCCESS,DELAY\r\n"));
    bob.notify = given(false);
    assert!(rcpt(&it, &bob, &server).ends_with(" NOTIFY=NEVER\r\n"));
    it.now = 1060;
    bob.notify = Notify::default();
    assert!(!rcpt(&it, &bob, &server).contains("NOTIFY"));
}

#[test]
fn names_go_in_a_labels_where_utf8_is_not_known() {
    let it = transaction();
    let bare = Capabilities::default();
    let line = it.rcpt(&to("bob@bücher.example"), &bare).unwrap();
    assert_eq!(line, b"RCPT TO:<bob@xn--bcher-kva.example>\r\n");
    let reply = it.rcpt(&to("zoë@x.example"), &bare).unwrap_err();
    assert_eq!((reply.code, reply.enhanced.as_str()), (0, "5.6.7"));
    let mut it = it;
    it.recipients = vec![to("zoë@bücher.example")];
    let line = it.rcpt(&it.recipients[0], &all()).unwrap();
    assert_eq!(line, "RCPT TO:<zoë@bücher.example>\r\n".as_bytes());
    assert!(mail(&it, &all()).contains(" SMTPUTF8"));
}

#[test]
fn what_can_not_go_is_refused_with_its_reason() {
    let bare = Capabilities::default();
    let refused = |change: &dyn Fn(&mut Transaction), server: &Capabilities| {
        let mut it = transaction();
        change(&mut it);
        it.form(server).unwrap_err().enhanced
    };
    assert_eq!(refused(&|it| it.size = 1001, &all()), "5.3.4");
    let utf8 = |it: &mut Transaction| it.envelope.sender = Some(address("ü@us.example"));
    assert_eq!(refused(&utf8, &bare), "5.6.7");
    let header = |it: &mut Transaction| {
        it.envelope.smtputf8 = true;
        it.survey.eight_bit = true;
        it.survey.eight_bit_header = true;
    };
    assert_eq!(refused(&header, &bare), "5.6.7");
    assert_eq!(
        refused(&|it| it.envelope.require_tls = true, &bare),
        "5.7.30"
    );
    let eight = |it: &mut Transaction| it.survey.eight_bit = true;
    assert_eq!(refused(&eight, &bare), "5.6.3");
    let binary = |it: &mut Transaction| {
        it.envelope.body = Body::BinaryMime;
        it.survey.lone = true;
    };
    assert_eq!(refused(&binary, &bare), "5.6.3");
    let by = |until| {
        move |it: &mut Transaction| {
            it.envelope.deliver_by = Some(DeliverBy {
                until,
                returns: true,
                trace: false,
            })
        }
    };
    assert_eq!(refused(&by(1060), &bare), "5.3.3");
    assert_eq!(refused(&by(1009), &all()), "5.4.7");
    assert_eq!(refused(&by(999), &all()), "5.4.7");
}

#[test]
fn the_form_is_what_server_and_message_allow() {
    let bare = Capabilities::default();
    let mut it = transaction();
    assert_eq!(
        (it.form(&bare), it.form(&all())),
        (Ok(Form::Data), Ok(Form::Bdat))
    );
    // What has to be mended goes line by line.
    it.survey.lone = true;
    assert_eq!(it.form(&all()), Ok(Form::Data));
    it.envelope.body = Body::BinaryMime;
    assert_eq!(it.form(&all()), Ok(Form::Bdat));
    assert!(mail(&it, &all()).contains("BODY=BINARYMIME"));
    it.convertible = true;
    assert_eq!(it.form(&bare), Ok(Form::Converted));
    let mut it = transaction();
    it.survey.eight_bit = true;
    it.convertible = true;
    assert_eq!(it.form(&bare), Ok(Form::Converted));
    assert!(!mail(&it, &bare).contains("BODY"));
    it.survey.eight_bit_header = true;
    assert!(it.form(&bare).is_err());
}
