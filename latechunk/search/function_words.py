"""Function words: articles, pronouns, prepositions, auxiliaries, words that ask; in 31 languages.

They are in nearly every text of their language, which a small index cannot know: in 40 chunks "how" can be as rare as
a name.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

from latechunk.storage.terms import to_terms

_WORDS = {
    "ar": "من في على إلى عن مع هذا هذه ذلك تلك هو هي هم ما ماذا من متى أين كيف لماذا كم هل أي الذي التي "
    "الذين كان كانت يكون أن إن لا لم لن قد و أو ثم بين بعد قبل عند كل",
    "bn": "এই সেই এটি তা তার কি কী কে কখন কোথায় কেন কিভাবে কত কোন যে যা এবং ও বা কিন্তু থেকে মধ্যে জন্য "
    "সঙ্গে হয় হয়েছিল ছিল ছিলেন করে না একটি উপর পরে",
    "cs": "a i nebo ale v ve na z ze do od po pro s se u k ke o za při před mezi je jsou byl byla bylo byli "
    "být má mají to ten ta tento tato co kdo kdy kde jak proč kolik který která které jaký jaká jaké "
    "ne že by si jeho její jejich on ona oni já ty",
    "da": "og eller men i på af til fra med for om ved under over efter før mellem er var være har havde "
    "det den de der denne dette en et som at ikke hvad hvem hvornår hvor hvordan hvorfor hvilken "
    "hvilket hvilke han hun jeg du vi hans hendes deres kan skal vil blev bliver",
    "de": "der die das den dem des ein eine einen einem einer eines und oder aber in im an am auf aus bei "
    "beim mit nach von vom vor zu zum zur für über unter um durch ist sind war waren sein bin wird "
    "werden wurde wurden hat haben hatte kann können muss soll darf ich du er sie es wir ihr mich mir "
    "ihn ihm ihnen uns sein seine seinen ihre ihren man sich nicht dass als wie was wer wen wem wann "
    "wo warum wieso welche welcher welches welchen wohin woher wofür womit dieser diese dieses diesen "
    "da dort hier so auch wenn ob",
    "el": "ο η το οι τα του της των τον την τους τις ένα ένας μια και ή αλλά σε στο στη στην στον στα στις "
    "στους από με για ως προς είναι ήταν έχει έχουν είχε να θα δεν που ποιος ποια ποιο ποιοι τι πότε "
    "πού πώς γιατί πόσο πόσα αυτό αυτός αυτή αυτά",
    "en": "i me my mine we us our you your he him his she her it its they them their what which who whom "
    "whose this that these those am is are was were be been being have has had having do does did "
    "doing will would shall should can could may might must a an the and or nor but if of at by for "
    "with to from in on as not no so than then there here when where why how s t ll ve re d m until "
    "while during before after over under into onto out up down about between through within without "
    "like because since also any some each both such",
    "es": "el la los las un una unos unas y e o u pero en de del a al con por para sin sobre entre desde "
    "hasta es son era eran fue fueron ser está están estaba ha han había hay tiene tienen se su sus "
    "lo le les que qué quién quiénes cuándo dónde cómo cuál cuáles cuánto cuántos cuántas por este "
    "esta estos estas ese esa eso no como más yo tú él ella nosotros ellos mi tu si",
    "fa": "از در به با برای تا که را و یا اما این آن است هست بود بودند شد می شود چه چی کی کجا چگونه چرا چند "
    "کدام هر یک بر او آنها ما شما من ها های",
    "fi": "ja tai mutta on ovat oli olivat ole olla ei se ne hän he minä sinä me te tämä tuo nämä joka "
    "jotka mikä mitä mitkä kuka ketä milloin missä mistä mihin miten miksi kuinka montako että kun "
    "jos kuin niin sen hänen heidän myös kanssa jälkeen ennen",
    "fr": "le la les l un une des d du de et ou mais à au aux en dans sur sous par pour avec sans chez "
    "entre vers depuis est sont était étaient été être a ont avait avoir y se s son sa ses leur leurs "
    "ce c cet cette ces il elle ils elles on je j tu nous vous me te lui que qu qui quoi quel quelle "
    "quels quelles quand où comment pourquoi combien dont ne n pas plus si comme",
    "he": "של את על אל מן עם זה זו זאת הוא היא הם הן אני אתה אנחנו מה מי מתי איפה היכן איך כיצד למה מדוע "
    "כמה איזה איזו האם אשר כי גם או אבל לא היה הייתה היו יש אין כל בין אחרי לפני",
    "hi": "का के की को से में पर ने और या लेकिन है हैं था थे थी हो होता होती यह वह ये वे इस उस इन उन क्या "
    "कौन कब कहाँ कहां कैसे क्यों कितना कितने कितनी किस किसने किसे जो जिस एक भी ही तक लिए साथ द्वारा "
    "नहीं किया गया",
    "hu": "a az egy és vagy de is nem hogy ha mint ez azt ezt mi mit ki kit mikor hol hova honnan hogyan "
    "miért mennyi hány melyik milyen van vannak volt voltak lesz lenni meg el ki be le fel után előtt "
    "között alatt",
    "id": "dan atau tetapi di ke dari pada dengan untuk oleh dalam sebagai adalah ialah itu ini yang tidak "
    "bukan akan telah sudah apa siapa kapan di mana bagaimana mengapa berapa dia ia mereka kami kita "
    "saya anda ada para",
    "it": "il lo la i gli le l un uno una e ed o ma in nel nella nei nelle di del della dei delle dello a "
    "al alla ai alle da dal dalla con per su sul sulla tra fra è sono era erano fu furono essere ha "
    "hanno aveva si suo sua suoi sue che chi cosa quando dove come perché quale quali quanto quanti "
    "quante questo questa questi queste non io tu lui lei noi loro ci vi",
    "ja": "の は が を に で と も へ や か な た て だ 何 誰 いつ どこ なぜ どの どう です ます した する ある "
    "いる この その こと もの れ ら "
    "ですか ますか でしょうか どれ どちら どんな どのように いくら いくつ",
    "ko": "이 그 저 무엇 무엇인가 무엇인가요 누구 누가 언제 어디 어디에 어디에서 어떻게 왜 어떤 얼마나 몇 및 "
    "또는 그리고 는 은 을 를 의 에 에서",
    "nl": "de het een en of maar in op aan van voor met door bij uit tot naar om over onder na tussen is "
    "zijn was waren wordt worden werd werden heeft hebben had kan kunnen moet zal zou ik jij je hij "
    "zij ze wij we u hem haar hun zijn er dat die dit deze wat wie wanneer waar hoe waarom welke welk "
    "hoeveel niet als dan ook te",
    "no": "og eller men i på av til fra med for om ved under over etter før mellom er var være har hadde "
    "det den de denne dette en et ei som at ikke hva hvem når hvor hvordan hvorfor hvilken hvilket "
    "hvilke han hun jeg du vi hans hennes deres kan skal vil ble blir",
    "pl": "i oraz lub ale w we na z ze do od po dla o za przy przed między przez jest są był była było byli "
    "być ma mają to ten ta te tego tej co kto kiedy gdzie jak dlaczego ile który która które jaki "
    "jaka jakie nie że się jego jej ich on ona oni ja ty czy",
    "pt": "o a os as um uma uns umas e ou mas em no na nos nas de do da dos das ao à aos às com por para "
    "pelo pela sem sobre entre até é são era eram foi foram ser está estão tem têm tinha há se seu "
    "sua seus suas que quem quando onde como qual quais quanto quantos quantas porque este esta isto "
    "esse essa isso não mais eu ele ela nós eles",
    "ro": "și sau dar în din de la pe cu pentru prin fără sub despre între este sunt era erau a fost fi are "
    "au avut un o unei unui al ale ai lui ei lor ce cine când unde cum care cât câți câte acest "
    "această aceste nu că se să mai el ea eu tu",
    "ru": "и или а но в во на с со из от до по для о об за при перед между через у к ко это этот эта эти "
    "тот та те что кто когда где как почему зачем сколько какой какая какое какие который которая "
    "которые был была было были быть есть не ни же бы ли он она оно они я ты мы вы его ее их него чем "
    "куда",
    "sv": "och eller men i på av till från med för om vid under över efter före mellan är var vara har hade "
    "det den de denna detta dessa en ett som att inte vad vem när var hur varför vilken vilket vilka "
    "han hon jag du vi hans hennes deras kan ska vill blev blir",
    "th": "ที่ ใน ของ และ หรือ แต่ จาก กับ โดย เป็น คือ มี ได้ ให้ ว่า นี้ นั้น อะไร ใคร เมื่อ ไหร่ ไหน อย่างไร ทำไม กี่ เท่าไร ไม่ จะ การ",
    "tr": "ve veya ya da ama ile için gibi kadar bu şu o bir ne nedir kim kimdir hangi nerede nereye "
    "nereden ne zaman nasıl neden niçin kaç mı mi mu mü de ki değil olan olarak idi ise olduğu daha "
    "en sonra önce",
    "uk": "і й та або але в у на з із зі від до по для про за при перед між через це цей ця ці той те що "
    "хто коли де як чому скільки який яка яке які був була було були бути є не ні ж би чи він вона "
    "воно вони я ти ми ви його її їх",
    "ur": "کا کے کی کو سے میں پر نے اور یا لیکن ہے ہیں تھا تھے تھی یہ وہ اس ان کیا کون کب کہاں کیسے کیوں "
    "کتنا کتنے کتنی کس جو ایک بھی ہی تک لیے ساتھ نہیں",
    "vi": "và hoặc nhưng của ở tại trong trên dưới từ đến với cho bởi là có được bị đã đang sẽ không này đó "
    "kia những các một cái gì ai khi nào đâu như thế sao bao nhiêu mà thì nó họ tôi bạn",
    "zh": "的 是 了 在 和 与 或 也 不 有 这 那 我 你 他 她 它 们 什 么 什么 谁 哪 何 吗 呢 为 怎 样 几 多 少 之 "
    "于 其 被 把 個 个 這 們 麼 什麼 為 誰 "
    "多少 怎么 怎麼 怎样 怎樣 哪里 哪裡 哪些 为什么 為什麼 什么时候 什麼時候 如何 请问 請問",
}


@cache
def _lists() -> dict[str, frozenset[str]]:
    return {language: frozenset(to_terms(words)) for language, words in _WORDS.items()}


def function_words(terms: Sequence[str]) -> frozenset[str]:
    """Those of the language that has the most of these terms among its own, as terms; none if no language has any.

    Examples:
        >>> sorted(function_words(["where", "is", "the", "pump"]) & {"where", "is", "the", "pump"})
        ['is', 'the', 'where']
    """
    counts = {language: sum(term in words for term in terms) for language, words in _lists().items()}
    best = max(counts, key=lambda language: counts[language])
    return _lists()[best] if counts[best] else frozenset()
