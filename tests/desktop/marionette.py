"""Thunderbird, driven through Marionette (JSON over TCP, protocol 3), with a profile of its own."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tests.desktop.running import PATIENCE
from tests.programs import missing
from tests.servers.mailhost import PASSWORD, free_port

PROGRAM = os.environ.get("SPAMD_TEST_THUNDERBIRD", "thunderbird")  # another version's path
MISSING = missing(PROGRAM, package="thunderbird") or missing("dbus-run-session", package="dbus")


class Thunderbird:
    """One running Thunderbird with one IMAP account."""

    def __init__(
        self, folder: Path, *, port: int, user: str, environ: Mapping[str, str] | None = None
    ) -> None:
        """folder: for profile and HOME. port: of the IMAP server, no TLS. environ: on top of ours."""
        self.user = user
        self._profile = folder / "profile"
        self._profile.mkdir(parents=True)
        self._marionette = free_port()
        self._write_preferences(port)
        self._output = (folder / "thunderbird.log").open("wb")
        env = {**os.environ, "HOME": str(folder), "MOZ_CRASHREPORTER_DISABLE": "1", **(environ or {})}
        env.pop("XDG_RUNTIME_DIR", None)
        headless = [] if env.get("DISPLAY") else ["--headless"]
        self._process = subprocess.Popen(
            [
                "dbus-run-session",
                "--",
                PROGRAM,
                *headless,
                "--no-remote",
                "--profile",
                str(self._profile),
                "--marionette",
                "--remote-allow-system-access",
            ],
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=self._output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        self._next = 0
        self._socket: socket.socket | None = None
        try:
            self._connect()
        except BaseException:
            self.close()
            raise

    def _write_preferences(self, port: int) -> None:
        wanted: dict[str, object] = {
            "mail.accountmanager.accounts": "account1,account2",
            "mail.accountmanager.defaultaccount": "account1",
            "mail.accountmanager.localfoldersserver": "server2",
            "mail.account.account1.server": "server1",
            "mail.account.account1.identities": "id1",
            "mail.account.account2.server": "server2",
            "mail.identity.id1.fullName": "Test",
            "mail.identity.id1.useremail": f"{self.user}@example.net",
            "mail.identity.id1.valid": True,
            "mail.server.server1.type": "imap",
            "mail.server.server1.hostname": "127.0.0.1",
            "mail.server.server1.port": port,
            "mail.server.server1.userName": self.user,
            "mail.server.server1.socketType": 0,
            "mail.server.server1.authMethod": 3,
            "mail.server.server1.name": "spamd",
            "mail.server.server1.login_at_startup": False,
            "mail.server.server1.check_new_mail": True,
            "mail.server.server1.spamLevel": 0,  # its own filter off, as the add-on's page advises
            "mail.server.server2.type": "none",
            "mail.server.server2.hostname": "Local Folders",
            "mail.server.server2.name": "Local Folders",
            "mail.server.server2.userName": "nobody",
            "mail.spam.version": 1,
            "mail.spam.manualMark": False,
            "mail.spellcheck.inline": False,
            "mail.provider.enabled": False,
            "mail.rights.version": 1,
            "mail.shell.checkDefaultClient": False,
            "mailnews.start_page.enabled": False,
            "mail.winsearch.firstRunDone": True,
            "app.donation.eoy.version.viewed": 999,
            "app.update.enabled": False,
            "app.normandy.enabled": False,
            "datareporting.policy.dataSubmissionEnabled": False,
            "datareporting.policy.dataSubmissionPolicyBypassNotification": True,
            "toolkit.telemetry.enabled": False,
            "extensions.autoDisableScopes": 0,
            "extensions.update.enabled": False,
            "extensions.getAddons.cache.enabled": False,
            "extensions.blocklist.enabled": False,
            "browser.safebrowsing.malware.enabled": False,
            "network.proxy.type": 1,
            "network.proxy.http": "127.0.0.1",
            "network.proxy.http_port": 9,
            "network.proxy.ssl": "127.0.0.1",
            "network.proxy.ssl_port": 9,
            "network.proxy.no_proxies_on": "127.0.0.1,localhost",
            "network.captive-portal-service.enabled": False,
            "intl.locale.requested": "en-US",
            "marionette.port": self._marionette,
            "remote.prefs.recommended": True,
        }
        lines = [f"user_pref({json.dumps(name)}, {json.dumps(value)});" for name, value in wanted.items()]
        (self._profile / "user.js").write_text("\n".join(lines) + "\n")

    # the wire

    def _connect(self, seconds: float = 240.0) -> None:
        deadline = time.monotonic() + seconds
        while self._socket is None:
            assert self._process.poll() is None, "Thunderbird ended"
            assert time.monotonic() < deadline, "Thunderbird does not answer"
            try:
                self._socket = socket.create_connection(("127.0.0.1", self._marionette), timeout=300)
            except OSError:
                time.sleep(0.05)
        self._read()  # the greeting
        self.command("WebDriver:NewSession", {})
        self.command("Marionette:SetContext", {"value": "chrome"})
        self.command("WebDriver:SetTimeouts", {"script": 180_000})

    def _read(self) -> Any:
        assert self._socket is not None
        length = b""
        while (byte := self._socket.recv(1)) != b":":
            assert byte, "Thunderbird closed the connection"
            length += byte
        body = b""
        while len(body) < int(length):
            part = self._socket.recv(int(length) - len(body))
            assert part, "Thunderbird closed the connection"
            body += part
        return json.loads(body)

    def command(self, name: str, parameters: Mapping[str, object]) -> Any:
        assert self._socket is not None
        self._next += 1
        body = json.dumps([0, self._next, name, parameters]).encode()
        self._socket.sendall(b"%d:%s" % (len(body), body))
        _, number, error, value = self._read()
        assert number == self._next
        assert error is None, f"{name}: {error['error']}: {error['message']}\n{error.get('stacktrace', '')}"
        return value["value"] if isinstance(value, dict) and set(value) == {"value"} else value

    def run(self, script: str, *arguments: object) -> Any:
        """A function body in the main window, privileged; `await` may be used."""
        wrapped = (
            "const done = arguments[arguments.length - 1];"
            f"(async (...args) => {{ {_PRELUDE} {script} }})(...Array.from(arguments).slice(0, -1))"
            ".then((value) => done({ value: value === undefined ? null : value }),"
            " (error) => done({ error: String(error) + '\\n' + (error && error.stack) }));"
        )
        parameters = {"script": wrapped, "args": list(arguments), "newSandbox": False}
        answer = self.command("WebDriver:ExecuteAsyncScript", parameters)
        assert "error" not in answer, answer["error"]
        return answer["value"]

    def until(self, script: str, *arguments: object, seconds: float = PATIENCE) -> Any:
        """Run it until the value is truthy."""
        deadline = time.monotonic() + seconds
        while True:
            value = self.run(script, *arguments)
            if value:
                return value
            assert time.monotonic() < deadline, f"never came true: {script}"
            time.sleep(0.05)

    def keys(self, *pressed: str) -> None:
        """Real key events into the focused element; modifiers first."""
        actions = [{"type": "keyDown", "value": key} for key in pressed]
        actions += [{"type": "keyUp", "value": key} for key in reversed(pressed)]
        chain = [{"type": "key", "id": "keyboard", "actions": actions}]
        self.command("WebDriver:PerformActions", {"actions": chain})
        self.command("WebDriver:ReleaseActions", {})

    def screenshot(self, path: Path) -> None:
        taken = self.command("WebDriver:TakeScreenshot", {"full": False})
        path.write_bytes(base64.b64decode(taken))

    # what a person does

    def sign_in(self) -> None:
        """Store the password and open the inbox."""
        self.until("return Boolean(win.document.getElementById('tabmail')?.currentAbout3Pane?.displayFolder)")
        self.run(
            """
            const info = Cc["@mozilla.org/login-manager/loginInfo;1"].createInstance(Ci.nsILoginInfo);
            info.init("imap://127.0.0.1", null, "imap://127.0.0.1", args[0], args[1], "", "");
            await Services.logins.addLoginAsync(info);
            """,
            self.user,
            PASSWORD,
        )
        self.open_folder("INBOX")

    def uri(self, folder: str) -> str:
        """A folder of the first account, or any by its URI."""
        return folder if ":" in folder else f"imap://{self.user}@127.0.0.1/{folder}"

    def add_account(self, user: str, port: int) -> str:
        """One more account; the URI of its inbox."""
        self.run(
            """
            const [user, port, password] = args;
            const { MailServices } = ChromeUtils.importESModule("resource:///modules/MailServices.sys.mjs");
            const server = MailServices.accounts.createIncomingServer(user, "127.0.0.1", "imap");
            server.port = port;
            server.socketType = 0;
            server.authMethod = 3;
            server.setIntValue("spamLevel", 0);
            server.password = password;
            const account = MailServices.accounts.createAccount();
            account.incomingServer = server;
            const identity = MailServices.accounts.createIdentity();
            identity.email = user + "@example.net";
            account.addIdentity(identity);
            server.performExpand(null);
            """,
            user,
            port,
            PASSWORD,
        )
        return f"imap://{user}@127.0.0.1/INBOX"

    def copy_to_local(self, folder: str) -> str:
        """The selected mail into a new local folder; its URI."""
        return str(
            self.until(
                """
                const { MailServices } = ChromeUtils.importESModule("resource:///modules/MailServices.sys.mjs");
                const root = MailServices.accounts.localFoldersServer.rootFolder;
                if (!root.containsChildNamed(args[0])) {
                  root.createSubfolder(args[0], null);
                  return null;
                }
                const target = root.getChildNamed(args[0]);
                if (target.getTotalMessages(false)) return target.URI;
                if (!win.spamdCopying) {
                  win.spamdCopying = true;
                  const [header] = pane().gDBView.getSelectedMsgHdrs();
                  MailServices.copy.copyMessages(header.folder, [header], target, false, null, null, false);
                }
                return null;
                """,
                folder,
            )
        )

    def open_file(self, path: Path) -> None:
        """A mail from a file, in a window of its own: button and popup are those of that window until it is closed."""
        self.run(
            """
            const file = Cc["@mozilla.org/file/local;1"].createInstance(Ci.nsIFile);
            file.initWithPath(args[0]);
            Services.prefs.setIntPref("mail.openMessageBehavior", 0);
            MailUtils.openEMLFile(win, file, Services.io.newFileURI(file));
            """,
            str(path),
        )
        self.until("return Boolean(fileWindow()?.messageBrowser?.contentWindow?.gMessage);")

    def close_file(self) -> None:
        self.until(
            """
            fileWindow()?.close();
            return !fileWindow();
            """
        )

    def open_folder(self, folder: str) -> None:
        self.until(
            """
            if (pane().gFolder?.URI === args[0]) return true;
            if (MailUtils.getExistingFolder(args[0])) pane().displayFolder(args[0]);
            else MailUtils.getExistingFolder(args[1])?.server.performExpand(null);
            return false;
            """,
            self.uri(folder),
            self.uri("INBOX") if ":" not in folder else folder.rpartition("/")[0] + "/INBOX",
        )

    def refresh(self, folder: str) -> None:
        self.run(
            """
            const folder = MailUtils.getExistingFolder(args[0]);
            folder?.updateFolder(null);
            """,
            self.uri(folder),
        )

    def open_mail(self, message_id: str, folder: str = "INBOX", seconds: float = PATIENCE) -> None:
        """Select it in the list and wait until it is displayed."""
        self.open_folder(folder)
        self.refresh(folder)
        self.until(
            """
            const view = pane().gDBView;
            if (!view) return false;
            for (let row = 0; row < view.rowCount; row++) {
              if (view.getMsgHdrAt(row).messageId === args[0]) {
                pane().threadTree.selectedIndex = row;
                pane().threadTree.table.body.focus();
                const shown = pane().messageBrowser.contentWindow;
                return shown?.gMessage === view.getMsgHdrAt(row) && shown.document.readyState === "complete";
              }
            }
            MailUtils.getExistingFolder(args[1]).updateFolder(null);
            return false;
            """,
            message_id,
            self.uri(folder),
            seconds=seconds,
        )

    def move_selected(self, folder: str) -> None:
        """The menu's Move To."""
        self.run(
            """
            const folder = MailUtils.getExistingFolder(args[0]);
            pane().commandController.doCommand("cmd_moveMessage", folder);
            """,
            self.uri(folder),
        )

    def place(self, kind: str, name: str) -> tuple[int, int]:
        """Where on the screen the row of a mail (its Message-ID) or of a folder is; not in headless mode."""
        x, y = self.until(
            """
            let row = null;
            if (args[0] === "folder") {
              row = pane().folderTree.rows.find((one) => one.uri === args[1])?.querySelector(".container");
            } else {
              const view = pane().gDBView;
              for (let at = 0; view && at < view.rowCount; at++) {
                if (view.getMsgHdrAt(at).messageId === args[1]) {
                  pane().threadTree.scrollToIndex(at, true);
                  row = pane().threadTree.getRowAtIndex(at);
                }
              }
            }
            const box = row?.getBoundingClientRect();
            if (!box?.height) return null;
            const scale = win.devicePixelRatio;
            const { mozInnerScreenX: left, mozInnerScreenY: top } = pane();
            return [(left + box.x + Math.min(60, box.width / 2)) * scale, (top + box.y + box.height / 2) * scale];
            """,
            kind,
            name if kind == "mail" else self.uri(name),
        )
        return round(x), round(y)

    def drag(self, mouse: Callable[..., object], message_id: str, folder: str) -> None:
        """A mail onto a folder, with the mouse. mouse: xdotool with these words, on Thunderbird's screen."""
        x, y = self.place("mail", message_id)
        to_x, to_y = self.place("folder", folder)
        mouse("mousemove", x, y)
        mouse("mousedown", 1)
        try:
            deadline = time.monotonic() + PATIENCE
            steps = 0
            while not self.run(_DRAGGING):
                steps += 1
                mouse("mousemove", x + 4 * (steps % 10), y + 2 * (steps % 10))
                assert time.monotonic() < deadline, "no drag began"
            steps = 0
            while not self.run(_OVER, self.uri(folder)):
                steps += 1
                mouse("mousemove", to_x + steps % 5, to_y + steps % 3)
                assert time.monotonic() < deadline, f"{folder} does not offer to take the mail"
        finally:
            mouse("mouseup", 1)

    # the add-on

    def install(self, package: Path) -> None:
        """It shows its settings at first; they are closed again."""
        self.command("Addon:Install", {"path": str(package), "temporary": True})
        self.until(
            """
            const tabs = win?.document.getElementById("tabmail");
            const options = tabs?.tabInfo.find((tab) => tab.browser?.currentURI?.spec.endsWith("/options/options.html"));
            if (options) tabs.closeTab(options);
            return Boolean(options);
            """
        )

    def addon_page(self, script: str, path: str, *arguments: object, seconds: float = PATIENCE) -> Any:
        """A page of the add-on in a tab; the script runs in that page until its value is truthy."""
        self.run(
            """
            const { WebExtensionPolicy } = globalThis;
            const policy = WebExtensionPolicy.getByID(args[0]);
            const url = policy.getURL(args[1]);
            const tabmail = win.document.getElementById("tabmail");
            const open = tabmail.tabInfo.find((tab) => tab.browser?.currentURI?.spec === url);
            if (open) tabmail.switchToTab(open);
            else tabmail.openTab("contentTab", { url, linkHandler: "single-page", userContextId: 0,
              initialBrowsingContextGroupId: policy.browsingContextGroupId,
              principal: policy.extension.principal });
            """,
            ADDON_ID,
            path,
        )
        find = """
            const tabmail = win.document.getElementById("tabmail");
            const frame = tabmail.currentTabInfo.browser;
        """
        return self._in_frame(find, script, arguments, seconds)

    def close_tab(self) -> None:
        self.run("const tabs = win.document.getElementById('tabmail'); tabs.closeTab(tabs.currentTabInfo);")

    def button(self) -> dict[str, str]:
        """The add-on's button on the open mail, as it looks."""
        return dict(
            self.until(
                """
                const found = messageButton();
                return found && { label: found.getAttribute("label"), title: found.getAttribute("tooltiptext"),
                  badge: found.getAttribute("badge"), image: found.getAttribute("style") };
                """
            )
        )

    def wait_for_button(self, *, seconds: float = PATIENCE, **wanted: str) -> dict[str, str]:
        deadline = time.monotonic() + seconds
        while True:
            looks = self.button()
            if all(part in (looks.get(name) or "") for name, part in wanted.items()):
                return looks
            assert time.monotonic() < deadline, looks
            time.sleep(0.05)

    def popup(self, script: str, *arguments: object, seconds: float = PATIENCE) -> Any:
        """Click the button on the open mail if its popup is closed; run the script in it until truthy."""
        self.until(
            """
            if (popupBrowser()) return true;
            messageButton().click();
            return false;
            """
        )
        return self._in_frame("const frame = popupBrowser();", script, arguments, seconds)

    def close_popup(self) -> None:
        self.until(
            """
            const frame = popupBrowser();
            if (!frame) return true;
            frame.closest("panel").hidePopup();
            return false;
            """
        )

    def _in_frame(self, find: str, script: str, arguments: tuple[object, ...], seconds: float) -> Any:
        deadline = time.monotonic() + seconds
        while True:
            answer = self.run(
                find
                + """
                if (!frame?.messageManager) return { value: null };
                const name = "spamd-test:" + Math.random();
                const source = `
                  const answer = (value) => sendAsyncMessage(${JSON.stringify(name)}, value);
                  try {
                    const { document } = content;
                    const run = (args) => { ${args[0]} };
                    answer({ value: JSON.parse(JSON.stringify(run(${JSON.stringify(args[1])}) ?? null)) });
                  } catch (error) { answer({ error: String(error) }); }`;
                return await new Promise((resolve) => {
                  const manager = frame.messageManager;
                  const heard = (message) => { manager.removeMessageListener(name, heard); resolve(message.data); };
                  manager.addMessageListener(name, heard);
                  win.setTimeout(() => resolve({ value: null }), 2000);
                  manager.loadFrameScript("data:application/javascript;charset=utf-8," + encodeURIComponent(source), false);
                });
                """,
                script,
                list(arguments),
            )
            if answer.get("value"):
                return answer["value"]
            assert time.monotonic() < deadline, f"never came true in the page: {script}: {answer}"
            time.sleep(0.05)

    # the end

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait(30)
        self._output.close()


_DRAGGING = """
const service = Cc["@mozilla.org/widget/dragservice;1"].getService(Ci.nsIDragService);
return Boolean(service.getCurrentSession(win));
"""
_OVER = """
const row = pane().folderTree.rows.find((one) => one.uri === args[0]);
return row.classList.contains("drop-target");
"""
ADDON_ID = "spamd-desktop@spamd.example.org"

_PRELUDE = """
const win = Services.wm.getMostRecentWindow("mail:3pane");
const { MailUtils } = ChromeUtils.importESModule("resource:///modules/MailUtils.sys.mjs");
const pane = () => win.document.getElementById("tabmail").currentAbout3Pane;
const fileWindow = () => Services.wm.getMostRecentWindow("mail:messageWindow");
const messageWindow = () => (fileWindow() ?? pane()).messageBrowser.contentWindow;
const messageButton = () =>
  messageWindow().document.querySelector('[id^="spamd-desktop"][id$="messageDisplayAction-toolbarbutton"]');
const popupBrowser = () => {
  for (const place of [messageWindow(), fileWindow(), pane(), win]) {
    const frame = place?.document.querySelector(".webextension-popup-browser");
    if (frame) return frame;
  }
  return null;
};
"""
