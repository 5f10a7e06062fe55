// Run by Thunderbird itself (its AutoConfig, without a sandbox): sets up an account as its owner
// would and uses it. What it saw goes to the file PB_RESULT, one JSON array a line, for thunderbird.py.

const env = name => Services.env.get(name);
const seen = [];

function say(...what) {
  seen.push(JSON.stringify(what));
  const file = Cc["@mozilla.org/file/local;1"].createInstance(Ci.nsIFile);
  file.initWithPath(env("PB_RESULT"));
  const stream = Cc["@mozilla.org/network/file-output-stream;1"].createInstance(Ci.nsIFileOutputStream);
  stream.init(file, -1, 0o600, 0);
  const text = unescape(encodeURIComponent(seen.join("\n") + "\n"));
  stream.write(text, text.length);
  stream.close();
}

const timers = [];
const sleep = ms =>
  new Promise(resolve => {
    const timer = Cc["@mozilla.org/timer;1"].createInstance(Ci.nsITimer);
    timers.push(timer);
    timer.initWithCallback({ notify: resolve }, ms, 0);
  });

// Waits for a state, a minute at most.
async function until(what, check) {
  for (let n = 0; n < 600; n++) {
    let it;
    try {
      it = check();
    } catch (error) {
      it = undefined;
    }
    if (it) {
      return it;
    }
    await sleep(100);
  }
  throw new Error("waited in vain for " + what);
}

// One command of the mail program to its end; `begin` gets the listener.
function command(what, begin) {
  return new Promise((resolve, reject) => {
    const end = code =>
      Components.isSuccessCode(code) ? resolve() : reject(new Error(`${what}: ${code.toString(16)}`));
    begin({
      QueryInterface: ChromeUtils.generateQI(["nsIUrlListener"]),
      OnStartRunningUrl() {},
      OnStopRunningUrl: (_url, code) => end(code),
    });
  });
}

const subjects = folder => [...folder.messages].map(it => it.mime2DecodedSubject).sort();

async function trust() {
  const certificates = Cc["@mozilla.org/security/x509certdb;1"].getService(Ci.nsIX509CertDB);
  certificates.addCertFromBase64(env("PB_CA"), "CT,C,C");
  for (const url of ["imap://localhost", "smtp://localhost", "mailbox://localhost"]) {
    const login = Cc["@mozilla.org/login-manager/loginInfo;1"].createInstance(Ci.nsILoginInfo);
    login.init(url, null, url, env("PB_USER"), env("PB_PASSWORD"), "", "");
    await Services.logins.addLoginAsync(login);
  }
}

function account(MailServices, kind, port) {
  const user = env("PB_USER");
  const server = MailServices.accounts.createIncomingServer(user, "localhost", kind);
  server.port = Number(port);
  server.socketType = Number(env("PB_SOCKET"));
  server.authMethod = Ci.nsMsgAuthMethod.passwordCleartext;
  server.password = env("PB_PASSWORD");
  const smtp = MailServices.outgoingServer.createServer("smtp");
  smtp.QueryInterface(Ci.nsISmtpServer);
  smtp.hostname = "localhost";
  smtp.port = Number(env("PB_SUBMISSION"));
  smtp.username = user;
  smtp.socketType = Number(env("PB_SOCKET"));
  smtp.authMethod = Ci.nsMsgAuthMethod.passwordCleartext;
  const identity = MailServices.accounts.createIdentity();
  identity.email = user;
  identity.fullName = "Alice Meyer";
  identity.smtpServerKey = smtp.key;
  identity.valid = true;
  const made = MailServices.accounts.createAccount();
  made.incomingServer = server;
  made.addIdentity(identity);
  MailServices.accounts.defaultAccount = made;
  return { server, identity, key: made.key };
}

// Sends a message that stands in a file; Thunderbird files it in Sent by itself.
function send(identity, key, to, path) {
  const file = Cc["@mozilla.org/file/local;1"].createInstance(Ci.nsIFile);
  file.initWithPath(path);
  const fields = Cc["@mozilla.org/messengercompose/composefields;1"].createInstance(Ci.nsIMsgCompFields);
  fields.from = identity.email;
  fields.to = to;
  const sending = Cc["@mozilla.org/messengercompose/send;1"].createInstance(Ci.nsIMsgSend);
  const now = Ci.nsIMsgSend.nsMsgDeliverNow;
  return sending.sendMessageFile(identity, key, fields, file, false, false, now, null, null, null, "");
}

async function byImap(MailServices, window) {
  const { server, identity, key } = account(MailServices, "imap", env("PB_IMAP"));
  const inbox = await until("an inbox", () => server.rootFolder.getFolderWithFlags(Ci.nsMsgFolderFlags.Inbox));
  await command("get", listener => inbox.getNewMessages(window, listener));
  await until("the folders", () => server.rootFolder.subFolders.length >= 6);
  say("folders", server.rootFolder.subFolders.map(it => it.name).sort());
  const use = flag => (server.rootFolder.getFolderWithFlags(flag) || { name: "" }).name;
  const flags = Ci.nsMsgFolderFlags;
  say("uses", [flags.SentMail, flags.Drafts, flags.Trash, flags.Junk, flags.Archive].map(use));
  await until("messages", () => [...inbox.messages].length === Number(env("PB_COUNT")));
  say("subjects", subjects(inbox));
  await command("bodies", listener => inbox.downloadAllForOffline(listener, window));
  await until("the bodies", () =>
    [...inbox.messages].every(it => it.flags & Ci.nsMsgMessageFlags.Offline)
  );
  say("offline");

  const named = subject => [...inbox.messages].find(it => it.mime2DecodedSubject === subject);
  inbox.markMessagesRead([named("first")], true);
  inbox.markMessagesFlagged([named("second")], true);
  const name = "B\u00fcro";
  server.rootFolder.createSubfolder(name, window);
  const folder = await until("the new folder", () =>
    server.rootFolder.subFolders.find(it => it.name === name)
  );
  MailServices.copy.copyMessages(inbox, [named("third")], folder, true, null, window, false);
  await until("the moved message", () => !named("third"));
  folder.updateFolder(window);
  await until("its arrival", () => [...folder.messages].length === 1);
  say("moved", subjects(folder));
  say("sent");
  await send(identity, key, env("PB_USER"), env("PB_MESSAGE"));
  // Nobody asks for it: IDLE tells.
  await until("the message by IDLE", () => named("sent by Thunderbird"));
  say("idle");
}

async function byPop(MailServices, window) {
  const { server } = account(MailServices, "pop3", env("PB_POP"));
  server.QueryInterface(Ci.nsIPop3IncomingServer).leaveMessagesOnServer = true;
  const inbox = await until("an inbox", () => server.rootFolder.getFolderWithFlags(Ci.nsMsgFolderFlags.Inbox));
  for (const round of ["first", "again"]) {
    await command(round, listener => MailServices.pop3.GetNewMail(window, listener, inbox, server));
    say(round, subjects(inbox));
  }
}

async function run() {
  Services.io.manageOfflineStatus = false;
  Services.io.offline = false;
  const { MailServices } = ChromeUtils.importESModule("resource:///modules/MailServices.sys.mjs");
  await trust();
  const main = await until("a window", () => Services.wm.getMostRecentWindow("mail:3pane"));
  await until("its folders", () => main.msgWindow);
  await (env("PB_KIND") === "imap" ? byImap : byPop)(MailServices, main.msgWindow);
}

const start = {
  observe() {
    Services.obs.removeObserver(start, "mail-startup-done");
    run()
      .then(() => say("done"), error => say("error", String(error), String(error && error.stack)))
      .then(() => Services.startup.quit(Ci.nsIAppStartup.eForceQuit));
  },
};
Services.obs.addObserver(start, "mail-startup-done");
